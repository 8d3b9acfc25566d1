/** The drawings of the page's cases, and the labels that they make. */
import type { Size3 } from 'unet3d-gpu/worker';
import { dataJob } from '../data-client.ts';
import { complain, messageOf } from '../dom.ts';
import { changed, state, type PageCase, type VolumeFile } from '../state.ts';
import { labelsOf, unknownVoxel, type Marks } from './drawing.ts';
import {
  forgetDrawing,
  identityOf,
  keepDrawing,
  keptDrawing,
  packed,
  slicesOf,
  unpacked,
  type DrawingRecord,
} from './kept-drawings.ts';

/** By the images of a case. */
const identities = new WeakMap<readonly VolumeFile[], string>();
const drawings = new Map<string, DrawingRecord>();
/** Labels that were made of drawings, with those that the cases had before. */
const made = new WeakMap<VolumeFile, VolumeFile | undefined>();
/** Cases whose drawing has changed since it was made the label. */
const stale = new Set<string>();
/** Drawings of which the browser keeps an older state, or none: the newest is here alone. */
const unsaved = new Set<string>();

export const hasUnsaved = (): boolean => unsaved.size > 0;

/** What is drawn on a case, where its images have been looked at. */
export function knownDrawing({ images }: PageCase): DrawingRecord | undefined {
  const id = identities.get(images);
  return id === undefined ? undefined : drawings.get(id);
}

/** What a case is known by, whatever it is called. */
export async function identityOfCase({ images }: PageCase): Promise<string> {
  const id = identities.get(images) ?? (await identityOf(images));
  identities.set(images, id);
  return id;
}

/** What is drawn on a case, here, in another tab, or in a project that was opened. */
export async function drawingOf(item: PageCase): Promise<DrawingRecord | undefined> {
  const id = await identityOfCase(item);
  const before = drawings.get(id);
  const kept = unsaved.has(id) ? before : await keptDrawing(id).catch(() => before); // a browser that keeps nothing
  if (kept) drawings.set(id, kept);
  else drawings.delete(id);
  if (kept?.changed.getTime() !== before?.changed.getTime()) {
    stale.add(item.id);
    changed();
  }
  return kept;
}

/** Finds the drawings of all cases, and the names of classes that were given with them. */
export async function findDrawings(signal: AbortSignal): Promise<void> {
  for (const item of state.cases) {
    if (signal.aborted) return;
    const kept = await drawingOf(item);
    if (!kept || kept.names.length <= state.labels.length) continue;
    state.labels = [...kept.names];
    changed();
  }
}

const isNothing = (drawn: Uint8Array, { whole, slices }: Marks): boolean =>
  !whole && slices.every((list) => list.length === 0) && !drawn.some((value) => value !== 0);

/** @param drawn in the order of the file, whose shape is given */
export async function keep(
  item: PageCase,
  shape: Size3,
  drawn: Uint8Array<ArrayBuffer>,
  marks: Marks,
  names: readonly string[],
): Promise<void> {
  const id = identities.get(item.images)!;
  const known = (record?: DrawingRecord): void => {
    if (record) drawings.set(id, record);
    else drawings.delete(id);
    stale.add(item.id);
    unsaved.add(id);
    changed();
  };
  if (isNothing(drawn, marks)) {
    known();
    await forgetDrawing(id);
    return void unsaved.delete(id);
  }
  const record: DrawingRecord = {
    id,
    shape,
    voxels: await packed(drawn),
    marks,
    drawn: slicesOf(drawn, shape),
    names,
    changed: new Date(),
  };
  known(record);
  await keepDrawing(record);
  unsaved.delete(id);
}

/** Whether nothing is left to be annotated in a case. */
export function isDone(item: PageCase): boolean {
  const drawing = knownDrawing(item);
  return drawing ? drawing.marks.whole : item.label !== undefined;
}

/** The label map of a drawing, on the grid of the case's file. */
export async function labelFile(
  item: PageCase,
  unknown: number,
  name = `${item.id}.nii.gz`,
): Promise<File | undefined> {
  const drawing = knownDrawing(item);
  if (!drawing) return undefined;
  const drawn = await unpacked(drawing);
  const labels = labelsOf(drawn, drawing.shape, drawing.marks, unknown);
  return dataJob('label', { image: item.images[0]!, labels, name });
}

/** Labels by case of drawings that have changed: what they are to be from now on. A damaged one is told, and left out. */
export async function newLabels(): Promise<Map<string, VolumeFile | undefined>> {
  const result = new Map<string, VolumeFile | undefined>();
  for (const item of state.cases) {
    if (!stale.has(item.id)) continue;
    const given = item.label && made.has(item.label) ? made.get(item.label) : item.label;
    stale.delete(item.id); // what is drawn from here on makes it so again
    try {
      const label = await labelFile(item, state.ignoreLabel ?? unknownVoxel);
      if (label) made.set(label, given);
      result.set(item.id, label ?? given);
    } catch (error) {
      complain(`The drawing on ${item.id} cannot be trained on: ${messageOf(error)}`);
    }
  }
  return result;
}

/** Labels that were not taken are made again the next time. */
export function notTaken(ids: Iterable<string>): void {
  for (const id of ids) stale.add(id);
}

export const hasNews = (): boolean => state.cases.some(({ id }) => stale.has(id));
