/** A case that is being drawn on: every step is kept at once, and can be undone and done again. */
import type { Size3 } from 'unet3d-gpu/worker';
import { dataJob } from '../data-client.ts';
import { complain, messageOf, unlessAborted } from '../dom.ts';
import { classNames, type PageCase, type VolumeFile } from '../state.ts';
import { classCount } from '../planning.ts';
import type { Board } from './board.ts';
import {
  accept,
  drawnBackground,
  eachOfSlice,
  flood,
  isComplete,
  noMarks,
  notDrawn,
  placesOfSlice,
  withSlice,
  type Acceptance,
  type Marks,
} from './drawing.ts';
import {
  displayShape,
  placesInFile,
  sliceOfFile,
  toDisplay,
  voxelOfDisplay,
  type Slice,
  type Turn,
} from './grid.ts';
import { DrawingHistory, type Change } from './history.ts';
import { interpolate } from './interpolate.ts';
import { drawingOf, forget, hasUnsaved, identityOfCase, keep, knownDrawing } from './annotations.ts';
import { holdDrawing, unpacked, type DrawingRecord } from './kept-drawings.ts';
import type { Greys } from './scan.ts';
import { Tally } from './tally.ts';

/** Drawings that are being written. */
const writes = new Set<Promise<void>>();
export const isWriting = (): boolean => writes.size > 0 || hasUnsaved();

/** When all that was drawn until now is written, or could not be. */
export const written = async (): Promise<void> => void (await Promise.all(writes));

/** A kept drawing that cannot be opened. */
export class DamagedDrawing extends Error {
  readonly record: DrawingRecord;

  constructor(record: DrawingRecord, problem: string) {
    super(`${problem}; download what is kept of it, or begin a new one`);
    this.record = record;
  }
}

/** @throws DamagedDrawing where it does not fit an image of that shape */
async function voxelsOf(record: DrawingRecord, shape: Size3): Promise<Uint8Array<ArrayBuffer>> {
  if (record.shape.join() !== shape.join())
    throw new DamagedDrawing(
      record,
      `its drawing has ${record.shape.join(' × ')} voxels, the image ${shape.join(' × ')}: it is damaged`,
    );
  try {
    return await unpacked(record);
  } catch (error) {
    throw new DamagedDrawing(record, `its drawing is damaged (${messageOf(error)})`);
  }
}

/** As `holdDrawing`, of what is drawn on a case. */
async function holdCase(item: PageCase): Promise<() => void> {
  const id = await identityOfCase(item);
  await written(); // this tab holds what it still writes
  return holdDrawing(id);
}

/** Forgets what is drawn on a case. @throws Error where another tab draws on it */
export async function discardDrawing(item: PageCase): Promise<void> {
  const release = await holdCase(item);
  await forget(item).finally(release);
}

export class Session {
  readonly item: PageCase;
  /** Of the display. */
  readonly shape: Size3;
  /** How many the file holds, of which the first is drawn on. */
  readonly volumes: number;
  readonly #fileShape: Size3;
  readonly #turn: Turn;
  readonly #spacing: Size3;
  readonly #board: Board;
  readonly #release: () => void;
  readonly #placeInFile: (at: number) => number;
  /** What is drawn, in the order of the file. */
  readonly #voxels: Uint8Array<ArrayBuffer>;
  readonly #tally: Tally;
  readonly #history: DrawingHistory;
  #marks: Marks;
  /** Whether there is something newer than what was written last. */
  #isNew = false;
  #isWriting = false;
  #closed = false;

  private constructor(
    item: PageCase,
    board: Board,
    facts: Omit<Greys, 'greys'>,
    { marks, voxels }: { readonly marks: Marks; readonly voxels: Uint8Array<ArrayBuffer> },
    release: () => void,
  ) {
    this.item = item;
    this.#board = board;
    this.volumes = facts.volumes;
    this.#fileShape = facts.shape;
    this.#turn = facts.turn;
    this.#spacing = facts.spacing;
    this.shape = displayShape(facts.shape, facts.turn);
    this.#marks = marks;
    this.#history = new DrawingHistory(board.drawn, marks);
    this.#placeInFile = placesInFile(facts.shape, facts.turn);
    this.#voxels = voxels;
    this.#tally = new Tally(board.drawn, this.shape);
    this.#release = release;
  }

  /**
   * Shows the case on the board with what is drawn on it.
   * @throws DamagedDrawing; Error where another tab draws on it; what the signal is aborted with
   */
  static async open(board: Board, item: PageCase, signal: AbortSignal): Promise<Session | undefined> {
    board.lock();
    let release: (() => void) | undefined;
    try {
      await unlessAborted(identityOfCase(item), signal);
      release = await holdCase(item);
      const kept = await drawingOf(item);
      signal.throwIfAborted();
      const facts = await board.open(item.images[0]!, signal);
      if (!facts) {
        release();
        return undefined;
      }
      const voxels = kept ? await voxelsOf(kept, facts.shape) : new Uint8Array(board.drawn.length);
      signal.throwIfAborted();
      if (kept) board.drawn.set(toDisplay(voxels, facts.shape, facts.turn));
      board.redraw();
      return new Session(item, board, facts, { marks: kept?.marks ?? noMarks, voxels }, release);
    } catch (error) {
      release?.();
      board.lock();
      // The case before must not be taken for this one.
      if (!(error instanceof DamagedDrawing)) board.clear();
      throw error;
    }
  }

  get canUndo(): boolean {
    return this.#history.canUndo;
  }

  get canRedo(): boolean {
    return this.#history.canRedo;
  }

  get isWhole(): boolean {
    return this.#marks.whole;
  }

  get isEmpty(): boolean {
    return this.#tally.isEmpty;
  }

  /** Whether all that is not drawn in a slice of the display is background. */
  isComplete(slice: Slice): boolean {
    return isComplete(this.#marks, this.#inFile(slice));
  }

  #inFile = (slice: Slice): Slice => sliceOfFile(slice, this.#fileShape, this.#turn);

  drawnSlices(axis: 0 | 1 | 2): number[] {
    return this.#tally.slices(axis);
  }

  /** Takes what has been drawn as a step; whether there was something. */
  step(): boolean {
    return this.#record(this.#board.isLarge ? this.#board.slice : undefined);
  }

  #record(within: Slice | undefined): boolean {
    const places = within && placesOfSlice(this.shape, within);
    const change = this.#closed ? undefined : this.#history.record(this.#board.drawn, this.#marks, places);
    if (change) this.#take(change);
    return change !== undefined;
  }

  /** @param within the only slice in which something is drawn otherwise */
  #change(marks: Marks, within?: Slice): void {
    this.#marks = marks;
    this.#board.redraw();
    this.#record(within);
  }

  undo(): void {
    this.#back(this.#history.undo(this.#board.drawn));
  }

  redo(): void {
    this.#back(this.#history.redo(this.#board.drawn));
  }

  #back(change: Change | undefined): void {
    if (!change) return;
    this.#marks = change.marks;
    this.#board.redraw();
    this.#take(change);
  }

  markSlice(slice: Slice, complete: boolean): void {
    this.#change(withSlice(this.#marks, this.#inFile(slice), complete), slice);
  }

  markWhole(whole: boolean): void {
    this.#change({ ...this.#marks, whole }, this.#board.slice);
  }

  fill(axis: 0 | 1 | 2, seed: Size3, value: number): void {
    flood(this.#board.drawn, this.shape, axis, seed, value === 0 ? drawnBackground : value);
    this.#change(this.#marks, { axis, index: seed[axis] });
  }

  /** Draws between drawn slices; returns in how many. */
  interpolate(axis: 0 | 1 | 2): number {
    const count = interpolate(this.#board.drawn, this.shape, axis, this.#spacing);
    this.#change(this.#marks);
    return count;
  }

  /**
   * Grows strokes of classes and of background to the edges in the image, between the first and the last drawn slice; in a
   * large scan within the slice at hand.
   */
  grow({ axis, index }: Slice): void {
    const board = this.#board;
    const drawn = board.isLarge ? [index] : this.drawnSlices(axis);
    const within = (visit: (at: number) => void): void => {
      for (let at = drawn[0]!; at <= drawn.at(-1)!; at++) eachOfSlice(this.shape, { axis, index: at }, visit);
    };
    const before = board.drawn.slice();
    const values = new Set<number>();
    within((at) => values.add(before[at]!));
    values.delete(notDrawn);
    if (!values.has(drawnBackground) || values.size < 2)
      throw new Error('draw a stroke in the background and one in each class first');
    board.grow();
    within((at) => {
      const grown = board.drawn[at]!;
      if (before[at] === notDrawn && grown !== drawnBackground) before[at] = grown;
    });
    board.drawn.set(before);
    this.#change(this.#marks, board.isLarge ? { axis, index } : undefined);
  }

  /** Labels of a file on the scan's grid, in the order of the display. */
  labelsOf(file: VolumeFile, signal?: AbortSignal): Promise<Uint8Array> {
    return dataJob('values', { labels: file, turn: this.#turn }, { signal });
  }

  /** Draws what such labels say of where nothing is drawn; all of it then counts as looked at. */
  accept(labels: Uint8Array, { slice, value }: Acceptance = {}): void {
    accept(this.#board.drawn, labels, this.shape, {
      ...(slice && { slice }),
      ...(value !== undefined && { value }),
    });
    if (value !== undefined) return this.#change(this.#marks, slice);
    if (slice) this.#change(withSlice(this.#marks, this.#inFile(slice), true), slice);
    else this.#change({ ...this.#marks, whole: true });
  }

  /** Begins with a drawing that is there, in the order of the file. */
  take(drawn: Uint8Array): void {
    this.#board.drawn.set(toDisplay(drawn, this.#fileShape, this.#turn));
    this.#change({ ...noMarks, whole: !drawn.includes(drawnBackground) });
  }

  /** Where a voxel of the file is shown. */
  toDisplay(voxel: Size3): Size3 {
    return voxelOfDisplay(voxel, this.#fileShape, this.#turn);
  }

  /** Classes are called otherwise now. */
  keepNames(): void {
    const kept = knownDrawing(this.item);
    if (kept && !this.#closed && kept.names.join('\n') !== classNames(classCount()).join('\n')) this.#keep();
  }

  /** Keeps what has changed. */
  #take(change: Change): void {
    this.#tally.take(change);
    change.places.forEach((at, index) => (this.#voxels[this.#placeInFile(at)] = change.after[index]!));
    this.#keep();
  }

  #keep(): void {
    this.#isNew = true;
    if (this.#isWriting) return;
    const write = this.#write();
    writes.add(write);
    void write.then(() => writes.delete(write));
  }

  /** The newest state, after what is being written. */
  async #write(): Promise<void> {
    this.#isWriting = true;
    while (this.#isNew) {
      this.#isNew = false;
      try {
        await keep(this.item, {
          shape: this.#fileShape,
          voxels: this.#voxels,
          marks: this.#marks,
          drawn: this.#tally.fewestSlices,
          names: classNames(classCount()),
        });
      } catch (error) {
        complain(`The drawing on ${this.item.id} could not be saved: ${messageOf(error)}`);
      }
    }
    this.#isWriting = false;
    if (this.#closed) this.#release();
  }

  /** Lets other tabs draw on it, once all is kept. */
  close(): void {
    this.step();
    this.#closed = true;
    if (!this.#isWriting) this.#release();
  }
}
