/** Drawings as the labels of their cases. */
import { complain, messageOf } from '../dom.ts';
import { state, type Images, type PageCase, type VolumeFile } from '../state.ts';
import { knownDrawing, labelFile, lookForDrawings } from './annotations.ts';
import { unknownVoxel } from './drawing.ts';
import type { DrawingRecord } from './kept-drawings.ts';
import { written } from './session.ts';

/** Gives cases other labels, or none. */
export type TakeLabels = (labels: ReadonlyMap<Images, VolumeFile | undefined>) => Promise<void>;

/** Labels that were made of drawings, with those that the cases had before. */
const made = new WeakMap<VolumeFile, VolumeFile | undefined>();
/** The drawing that is the label of a case by now; none for cases that were never drawn on. */
const taken = new WeakMap<Images, DrawingRecord | undefined>();

let applying: Promise<void> = Promise.resolve();

/** When the drawings that were to become labels are that, or could not be. */
export const labelsTaken = (): Promise<void> => applying.catch(() => undefined);

function isNews(item: PageCase): boolean {
  const drawing = knownDrawing(item);
  if (taken.has(item.images)) return drawing !== taken.get(item.images);
  // A label that comes back with its training is of the time of its drawing.
  return drawing !== undefined && !isOfTime(item.label, drawing.changed);
}

const isOfTime = (label: VolumeFile | undefined, time: Date): boolean =>
  label instanceof File && label.lastModified === time.getTime();

/** The label of a case as its drawing is now. */
async function labelNow(item: PageCase, drawing: DrawingRecord | undefined): Promise<VolumeFile | undefined> {
  const before = item.label && made.has(item.label) ? made.get(item.label) : item.label;
  if (!drawing) return before;
  const label = await labelFile(item, drawing, state.ignoreLabel ?? unknownVoxel);
  made.set(label, before);
  return label;
}

let looking = new AbortController();

/** Looks for what was drawn on the cases of the page, in place of an earlier call, and makes that their labels. */
export async function findDrawings(take: TakeLabels): Promise<void> {
  looking.abort();
  looking = new AbortController();
  const { signal } = looking;
  await lookForDrawings(signal);
  if (!signal.aborted) await apply(take);
}

/** Makes drawings that have changed the labels of their cases, one call after another. A damaged one is told, once. */
export function apply(take: TakeLabels): Promise<void> {
  applying = labelsTaken().then(async () => {
    await written();
    const labels = new Map<Images, VolumeFile | undefined>();
    const drawings = new Map<Images, DrawingRecord | undefined>();
    for (const item of state.cases.filter(isNews)) {
      const drawing = knownDrawing(item);
      try {
        labels.set(item.images, await labelNow(item, drawing));
        drawings.set(item.images, drawing);
      } catch (error) {
        taken.set(item.images, drawing);
        complain(`The drawing on ${item.id} cannot be trained on: ${messageOf(error)}`);
      }
    }
    if (labels.size === 0) return;
    await take(labels);
    for (const [images, drawing] of drawings) taken.set(images, drawing);
  });
  return applying;
}
