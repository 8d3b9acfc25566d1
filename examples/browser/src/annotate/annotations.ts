/** The drawings of the page's cases. */
import type { Case, Size3 } from 'unet3d-gpu/worker';
import { dataJob } from '../data-client.ts';
import { attempt, complain, messageOf } from '../dom.ts';
import { nameClasses } from '../labelled-cases.ts';
import { changed, named, onChange, state, type Images, type PageCase } from '../state.ts';
import { namesApart, renamed, together } from './drawn-names.ts';
import type { Marks } from './drawing.ts';
import {
  bytesOf,
  forgetDrawing,
  identityOf,
  keepDrawing,
  keepNames,
  keptDrawing,
  keptDrawings,
  originOf,
  type DrawingRecord,
} from './kept-drawings.ts';
import { packed } from './packing.ts';

const identities = new WeakMap<Images, string>();
/** By identity of the images that they are on. */
const drawings = new Map<string, DrawingRecord>();
/** By the same, the cases of which the browser keeps an older drawing, or none: the newest is here alone. */
const unsaved = new Map<string, Case>();
/** By the same, when the drawing was changed that the browser keeps. */
const keptOf = new Map<string, Date | undefined>();

export const hasUnsaved = (): boolean => unsaved.size > 0;

/** Such cases by the ids of their drawings; without one where all was erased. */
export const unsavedDrawings = (): ReadonlyMap<
  string,
  { readonly item: Case; readonly drawing: DrawingRecord | undefined }
> => new Map([...unsaved].map(([id, item]) => [id, { item, drawing: drawings.get(id) }]));

/** What is drawn on a case, whatever its classes are called, where its images have been looked at. */
export function foundDrawing({ images }: PageCase): DrawingRecord | undefined {
  const id = identities.get(images);
  return id === undefined ? undefined : drawings.get(id);
}

/** Classes that are called otherwise in a drawing than on the page, in words; '' where there are none. */
export const apartFromPage = ({ names }: DrawingRecord): string => namesApart(names, state.labels, 'here');

/** What is drawn on a case, of the classes of the page. */
export function knownDrawing(item: PageCase): DrawingRecord | undefined {
  const drawing = foundDrawing(item);
  return drawing && apartFromPage(drawing) === '' ? drawing : undefined;
}

/** What images are known by, if that has been looked up. */
export const knownIdentity = (images: Images): string | undefined => identities.get(images);

/** What a case is known by, whatever it is called. */
export async function identityOfCase({ images }: PageCase): Promise<string> {
  const id = identities.get(images) ?? (await identityOf(originOf(images)));
  identities.set(images, id);
  return id;
}

/** What is drawn on a case, here, in another tab, or in a project that was opened. */
export async function drawingOf(item: PageCase): Promise<DrawingRecord | undefined> {
  const id = await identityOfCase(item);
  const before = drawings.get(id);
  if (unsaved.has(id)) return before;
  const kept = await keptDrawing(id);
  keptOf.set(id, kept?.changed);
  if (kept?.changed.getTime() === before?.changed.getTime()) return before;
  if (kept) drawings.set(id, kept);
  else drawings.delete(id);
  changed();
  return kept;
}

/** What has been told of cases of which it cannot be said what is drawn on them. */
const toldUnread = new WeakMap<Images, string>();

/** Looks for the drawings of all cases, and the names of classes that were given with them. */
export async function lookForDrawings(signal: AbortSignal): Promise<void> {
  const { drawings: all, unread } = await keptDrawings();
  const sizes = new Set(all.map(({ bytes }) => bytes));
  if (unread > 0) sizes.add(undefined); // which may be of any
  const mayHave = ({ images }: PageCase): boolean =>
    identities.has(images) || sizes.has(bytesOf(originOf(images))) || sizes.has(undefined);
  const found: DrawingRecord[] = [];
  for (const item of state.cases.filter(mayHave)) {
    if (signal.aborted) return;
    try {
      const kept = await drawingOf(item);
      if (kept) found.push(kept);
    } catch (error) {
      const why = messageOf(error);
      if (toldUnread.get(item.images) !== why)
        complain(`It cannot be told whether something is drawn on ${item.id}: ${why}`);
      toldUnread.set(item.images, why);
    }
  }
  if (signal.aborted) return;
  const { names } = together(state.labels, found);
  if (!sameNames(names, state.labels)) nameClasses(names);
}

const sameNames = (some: readonly string[], others: readonly string[]): boolean =>
  some.join('\n') === others.join('\n');

let pageNames: readonly string[] = state.labels;
onChange(() => {
  const before = pageNames;
  pageNames = state.labels;
  if (!sameNames(before, pageNames)) void attempt('Rename classes of drawings', () => rename(before));
});

/** Calls classes in the drawings of the page's cases as on the page, where they had its names before. */
async function rename(before: readonly string[]): Promise<void> {
  const others = state.cases.flatMap((item) => {
    const drawing = foundDrawing(item);
    const names = drawing && renamed(drawing.names, before, state.labels);
    // It stays what its label was made of.
    return names && !sameNames(names, drawing.names) ? [Object.assign(drawing, { names })] : [];
  });
  for (const drawing of others) await keepNames(drawing);
}

/** A drawing as it is now. */
export interface Drawing {
  /** x, y, z of the file. */
  readonly shape: Size3;
  /** In the order of the file; it stays as it is until `keep` is done. */
  readonly voxels: Uint8Array<ArrayBuffer>;
  readonly marks: Marks;
  /** Slices with something drawn, across the axis across which they are fewest. */
  readonly drawn: number;
  /** Class names by label value, background first, for classes that it has no name of yet. */
  readonly names: readonly string[];
}

const isNothing = ({ drawn, marks: { whole, slices } }: Drawing): boolean =>
  drawn === 0 && !whole && slices.every((list) => list.length === 0);

let storing: Promise<void> = Promise.resolve();

/** Makes the browser keep what is drawn on a case by now, after what it is given already. */
function store(id: string): Promise<void> {
  const done = storing.then(async () => {
    const scan = unsaved.get(id);
    if (!scan) return; // with one that came later
    const [drawing, known] = [drawings.get(id), keptOf.get(id)];
    if (drawing) await keepDrawing(drawing, scan, known);
    else await forgetDrawing(id, { known });
    keptOf.set(id, drawing?.changed);
    toldUnsaved.delete(id);
    if (drawings.get(id) === drawing) unsaved.delete(id);
  });
  storing = done.catch(() => undefined);
  return done;
}

/** Tries again to keep what could not be kept: there may be room by now. */
export async function keepUnsaved(): Promise<void> {
  for (const [id, { id: name }] of [...unsaved])
    await store(id).catch((error: unknown) => complainUnsaved(id, name, messageOf(error)));
}

/** Why a drawing could not be kept, as it has been told, until it is. */
const toldUnsaved = new Map<string, string>();

/** @throws QuotaExceeded where it does not fit the disk; Error where the browser keeps another one */
export async function keep(item: PageCase, drawing: Drawing): Promise<void> {
  const id = identities.get(item.images)!;
  const { id: name, subject } = item;
  const images = originOf(item.images);
  const bytes = bytesOf(images);
  const voxels = isNothing(drawing) ? undefined : await packed(drawing.voxels);
  const names = named(drawings.get(id)?.names ?? [], drawing.names);
  if (voxels) drawings.set(id, { ...drawing, id, bytes, voxels, names, changed: new Date() });
  else drawings.delete(id);
  unsaved.set(id, { id: name, subject, images });
  changed();
  await store(id);
  if (unsaved.size > 0) void keepUnsaved(); // what there was no room for
}

function complainUnsaved(id: string, name: string, why: string): void {
  if (toldUnsaved.get(id) !== why) complain(`The drawing on ${name} could not be saved: ${why}`);
  toldUnsaved.set(id, why);
}

/** Tells why a drawing could not be kept, once until it can. */
export async function tellUnsaved(item: PageCase, error: unknown): Promise<void> {
  complainUnsaved(await identityOfCase(item), item.id, messageOf(error));
}

/** Forgets what is drawn on a case, such as a drawing that is damaged. */
export async function forget(item: PageCase): Promise<void> {
  const id = await identityOfCase(item);
  await forgetDrawing(id);
  drawings.delete(id);
  unsaved.delete(id);
  toldUnsaved.delete(id);
  keptOf.delete(id);
  changed();
}

/** Whether nothing is left to be annotated in a case. */
export function isDone(item: PageCase): boolean {
  const drawing = knownDrawing(item);
  return drawing ? drawing.marks.whole : item.label !== undefined;
}

/** The label map of a drawing, of its time, on the grid of the case's file. @throws InvalidVolume where the drawing is damaged */
export async function labelFile(
  item: PageCase,
  drawing: DrawingRecord,
  unknown: number,
  name = `${item.id}.nii.gz`,
  signal?: AbortSignal,
): Promise<File> {
  const { voxels, shape, marks, changed } = drawing;
  const kept = { voxels, shape, marks };
  return dataJob(
    'label',
    { image: item.images[0]!, drawing: kept, unknown, name, changed: changed.getTime() },
    { signal },
  );
}
