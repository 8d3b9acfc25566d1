/** Drawings as the labels of their cases. */
import { complain, messageOf } from '../dom.ts';
import { state, type Images, type PageCase, type VolumeFile } from '../state.ts';
import {
  apartFromPage,
  foundDrawing,
  knownDrawing,
  knownIdentity,
  labelFile,
  lookForDrawings,
} from './annotations.ts';
import { unknownVoxel } from './drawing.ts';
import { whereApart } from './drawn-names.ts';
import type { DrawingRecord } from './kept-drawings.ts';
import { written } from './session.ts';
import { taken, type Taken } from './taken.ts';

/** Gives cases other labels, or none. */
export type TakeLabels = (labels: ReadonlyMap<Images, VolumeFile | undefined>) => Promise<void>;

/** Labels that were made of drawings, with the images that these are on, and with what the cases had before. */
const made = new WeakMap<VolumeFile, { readonly id: string; readonly before: VolumeFile | undefined }>();

/** Of a case whose label was made of a drawing on it: one may be another case's, chosen by hand. */
function madeHere({ images, label }: PageCase): { readonly before: VolumeFile | undefined } | undefined {
  const of = label && made.get(label);
  return of?.id === knownIdentity(images) ? of : undefined;
}

const unknownNow = (): number => state.ignoreLabel ?? unknownVoxel;

let applying: Promise<void> = Promise.resolve();

function isNews(item: PageCase): boolean {
  const drawing = knownDrawing(item);
  const before = taken.get(item.images);
  if (before) return drawing !== before.drawing || (!!drawing && before.unknown !== unknownNow());
  if (!drawing) return !foundDrawing(item) && madeHere(item) !== undefined; // it was erased since
  if (!isOfTime(item.label, drawing.changed)) return true;
  // A label that comes back with its training, or whose image is another file now, is of the time of its drawing.
  taken.set(item.images, { drawing, unknown: unknownNow() });
  if (!made.has(item.label)) made.set(item.label, { id: drawing.id, before: undefined });
  return false;
}

const isOfTime = (label: VolumeFile | undefined, time: Date): label is File =>
  label instanceof File && label.lastModified === time.getTime();

/** The label of a case as its drawing is now. */
async function labelNow(item: PageCase, drawing: DrawingRecord | undefined): Promise<VolumeFile | undefined> {
  const here = madeHere(item);
  const before = here ? here.before : item.label;
  if (!drawing) return before;
  const label = await labelFile(item, drawing, unknownNow());
  made.set(label, { id: drawing.id, before });
  return label;
}

/** What has been told of drawings that do not go with the names of the page. */
const told = new WeakMap<DrawingRecord, string>();

/** Tells on which cases something is drawn that is not taken, and why. */
function tellApart(): void {
  const cases = new Map<string, string[]>(); // by reason
  for (const item of state.cases) {
    const drawing = foundDrawing(item);
    const why = drawing ? apartFromPage(drawing) : '';
    if (!drawing || told.get(drawing) === why) continue;
    told.set(drawing, why);
    if (why !== '') cases.set(why, [...(cases.get(why) ?? []), item.id]);
  }
  for (const [why, ids] of cases)
    complain(`What is drawn on ${ids.join(', ')} is not trained on: ${why}. ${whereApart}`);
}

let looking = new AbortController();
let newest: Promise<void> = Promise.resolve();

/**
 * Looks for what was drawn on the cases of the page, here, in another tab, or in a project that was opened, and makes that
 * their labels. An earlier call ends with the newest.
 */
export function findDrawings(take: TakeLabels): Promise<void> {
  looking.abort();
  looking = new AbortController();
  const { signal } = looking;
  newest = lookForDrawings(signal).then(() => (signal.aborted ? newest : apply(take)));
  return newest;
}

/**
 * Makes drawings that have changed the labels of their cases, one call after another. A damaged one is told, once, and so is
 * one of other classes than those of the page.
 */
export function apply(take: TakeLabels): Promise<void> {
  const before = applying.catch(() => undefined); // whose caller has been told
  applying = before.then(async () => {
    await written();
    tellApart();
    const labels = new Map<Images, VolumeFile | undefined>();
    const drawings = new Map<Images, Taken>();
    for (const item of state.cases.filter(isNews)) {
      const now = { drawing: knownDrawing(item), unknown: unknownNow() };
      try {
        labels.set(item.images, await labelNow(item, now.drawing));
        drawings.set(item.images, now);
      } catch (error) {
        taken.set(item.images, now);
        complain(`The drawing on ${item.id} cannot be trained on: ${messageOf(error)}`);
      }
    }
    if (labels.size === 0) return;
    await take(labels);
    for (const [images, now] of drawings) taken.set(images, now);
  });
  return applying;
}
