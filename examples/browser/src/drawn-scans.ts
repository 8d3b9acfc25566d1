/** Scans that were drawn on and are kept here with their drawings, to be opened again. */
import { drawnCases } from './annotate/kept-drawings.ts';
import { button, counted, type Child } from './dom.ts';

/** How many there are, with a button that opens them; nothing where there are none, or none can be read. */
export async function drawnScans(open: () => Promise<void>): Promise<Child> {
  const { size } = await drawnCases().catch(() => new Map());
  if (size === 0) return false;
  return [
    `${counted(size, 'scan')} with drawings ${size === 1 ? 'is' : 'are'} kept here.`,
    button(size === 1 ? 'Open it' : 'Open them', open),
  ];
}
