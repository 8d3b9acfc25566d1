/** The drawings of the page's cases. */
import type { Size3 } from 'unet3d-gpu/worker';
import { dataJob } from '../data-client.ts';
import { nameClasses } from '../labelled-cases.ts';
import { changed, named, state, type Images, type PageCase } from '../state.ts';
import type { Marks } from './drawing.ts';
import {
  bytesOf,
  forgetDrawing,
  identityOf,
  keepDrawing,
  keptDrawing,
  keptDrawings,
  type DrawingRecord,
} from './kept-drawings.ts';
import { packed } from './packing.ts';

const identities = new WeakMap<Images, string>();
/** By identity of the images that they are on. */
const drawings = new Map<string, DrawingRecord>();
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
  if (kept?.changed.getTime() === before?.changed.getTime()) return before;
  if (kept) drawings.set(id, kept);
  else drawings.delete(id);
  changed();
  return kept;
}

/** Looks for the drawings of all cases, and the names of classes that were given with them. */
export async function lookForDrawings(signal: AbortSignal): Promise<void> {
  const sizes = new Set((await keptDrawings()).map(({ bytes }) => bytes));
  const mayHave = ({ images }: PageCase): boolean =>
    identities.has(images) || sizes.has(bytesOf(images)) || sizes.has(undefined);
  let newest: DrawingRecord | undefined;
  for (const item of state.cases.filter(mayHave)) {
    if (signal.aborted) return;
    const kept = await drawingOf(item);
    if (kept && (!newest || kept.changed > newest.changed)) newest = kept;
  }
  if (newest && !signal.aborted) takeNames(newest.names);
}

/** Gives classes that have no name of their own those that they were given with a drawing. */
function takeNames(names: readonly string[]): void {
  const labels = named(state.labels, names);
  if (labels.join('\n') === state.labels.join('\n')) return;
  nameClasses(labels);
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
  /** Class names by label value, background first. */
  readonly names: readonly string[];
}

const isNothing = ({ drawn, marks: { whole, slices } }: Drawing): boolean =>
  drawn === 0 && !whole && slices.every((list) => list.length === 0);

export async function keep(item: PageCase, drawing: Drawing): Promise<void> {
  const id = identities.get(item.images)!;
  const known = (record?: DrawingRecord): void => {
    if (record) drawings.set(id, record);
    else drawings.delete(id);
    unsaved.add(id);
    changed();
  };
  if (isNothing(drawing)) {
    known();
    await forgetDrawing(id);
    return void unsaved.delete(id);
  }
  const record: DrawingRecord = {
    ...drawing,
    id,
    bytes: bytesOf(item.images),
    voxels: await packed(drawing.voxels),
    changed: new Date(),
  };
  known(record);
  const { id: name, subject, images } = item;
  await keepDrawing(record, { id: name, subject, images });
  unsaved.delete(id);
}

/** Forgets what is drawn on a case, such as a drawing that is damaged. */
export async function forget(item: PageCase): Promise<void> {
  const id = await identityOfCase(item);
  await forgetDrawing(id);
  drawings.delete(id);
  unsaved.delete(id);
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
