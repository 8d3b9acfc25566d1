/** A case that is being drawn on: every step is kept at once, and can be undone and done again. */
import type { Size3 } from 'unet3d-gpu/worker';
import { dataJob } from '../data-client.ts';
import { messageOf, unlessAborted } from '../dom.ts';
import { restsUntil } from '../pieces.ts';
import { classNames, named, state, type PageCase, type VolumeFile } from '../state.ts';
import { classCount } from '../planning.ts';
import type { Board } from './board.ts';
import {
  accepted,
  drawnBackground,
  flood,
  isComplete,
  noMarks,
  paintsTo,
  placesOfSlice,
  withSlice,
  type Acceptance,
  type FromLabels,
  type Marks,
  type Paint,
} from './drawing.ts';
import {
  displayShape,
  placesInFile,
  putInDisplay,
  sliceOfFile,
  voxelOfDisplay,
  type Slice,
  type Turn,
} from './grid.ts';
import { DrawingHistory, type Lot, type Way } from './history.ts';
import { buffersOf, gapsBetween } from './interpolate.ts';
import {
  apartFromPage,
  drawingOf,
  forget,
  hasUnsaved,
  identityOfCase,
  keep,
  knownDrawing,
  tellUnsaved,
} from './annotations.ts';
import { whereApart } from './drawn-names.ts';
import { holdDrawing, type DrawingRecord } from './kept-drawings.ts';
import { unpacked } from './packing.ts';
import type { Greys } from './scan.ts';
import { Tally } from './tally.ts';

/** Drawings that are being changed or written. */
const writes = new Set<Promise<void>>();
export const isWriting = (): boolean => writes.size > 0 || hasUnsaved();

/** When all that was drawn until now is written, or could not be. */
export async function written(): Promise<void> {
  while (writes.size > 0) await Promise.all(writes);
}

function awaitWrite(work: Promise<void>): void {
  writes.add(work);
  void work.then(() => writes.delete(work));
}

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

function valuesAt(drawn: Uint8Array, places: Uint32Array): Uint8Array<ArrayBuffer> {
  const values = new Uint8Array(places.length);
  for (let at = 0; at < places.length; at++) values[at] = drawn[places[at]!]!;
  return values;
}

/** What is drawn on a case when it is opened. */
interface Beginning {
  readonly marks: Marks;
  /** In the order of the file. */
  readonly voxels: Uint8Array<ArrayBuffer>;
  /** A copy of what is on the board. */
  readonly known: Uint8Array<ArrayBuffer>;
  readonly tally: Tally;
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
  /** What was drawn on the board when it was locked last, which stays the case's when the board has gone. */
  #drawn: Uint8Array;
  readonly #release: () => void;
  readonly #placeInFile: (at: number) => number;
  /** What is drawn, in the order of the file, as it is kept or being written. */
  readonly #voxels: Uint8Array<ArrayBuffer>;
  /** What is newer than that. */
  readonly #news: Lot[] = [];
  readonly #tally: Tally;
  readonly #history: DrawingHistory;
  #marks: Marks;
  /** Of the classes, while the case is one of the page. */
  #names: readonly string[] = classNames(classCount());
  /** Ends with what is being done that takes its time; it never fails. */
  #work: Promise<void> | undefined;
  /** Whether there is something newer than what was written last. */
  #isNew = false;
  #isWriting = false;
  #closed = false;

  private constructor(
    item: PageCase,
    board: Board,
    facts: Omit<Greys, 'greys'>,
    { marks, voxels, known, tally }: Beginning,
    release: () => void,
  ) {
    this.item = item;
    this.#board = board;
    this.#drawn = board.drawn;
    this.volumes = facts.volumes;
    this.#fileShape = facts.shape;
    this.#turn = facts.turn;
    this.#spacing = facts.spacing;
    this.shape = displayShape(facts.shape, facts.turn);
    this.#marks = marks;
    this.#history = new DrawingHistory(known, marks);
    this.#placeInFile = placesInFile(facts.shape, facts.turn);
    this.#voxels = voxels;
    this.#tally = tally;
    this.#release = release;
  }

  /**
   * Shows the case on the board with what is drawn on it.
   * @throws DamagedDrawing; Error where another tab draws on it, or its drawing is of other classes; what the signal is aborted with
   */
  static async open(board: Board, item: PageCase, signal: AbortSignal): Promise<Session | undefined> {
    board.lock();
    let release: (() => void) | undefined;
    try {
      await unlessAborted(identityOfCase(item), signal);
      release = await holdCase(item);
      const kept = await drawingOf(item);
      signal.throwIfAborted();
      const why = kept ? apartFromPage(kept) : '';
      if (why !== '') throw new Error(`${why}. ${whereApart}`);
      const facts = await board.open(item.images[0]!, signal);
      if (!facts) {
        release();
        return undefined;
      }
      signal.throwIfAborted();
      const { shape, turn } = facts;
      const voxels = kept
        ? await unlessAborted(voxelsOf(kept, shape), signal)
        : new Uint8Array(board.drawn.length);
      const known = new Uint8Array(voxels.length);
      const [nx, ny, nz] = displayShape(shape, turn);
      const tally = new Tally([nx, ny, nz]);
      const rest = restsUntil(signal);
      for (let z = 0; kept && z < nz; z++) {
        await rest();
        const [from, to] = [z * nx * ny, (z + 1) * nx * ny];
        putInDisplay(known, voxels, shape, turn, z);
        board.drawn.set(known.subarray(from, to), from);
        tally.add(known, from, to);
      }
      board.redraw();
      board.unlock();
      return new Session(
        item,
        board,
        facts,
        { marks: kept?.marks ?? noMarks, voxels, known, tally },
        release,
      );
    } catch (error) {
      release?.();
      board.lock();
      // The case before must not be taken for this one.
      if (!(error instanceof DamagedDrawing)) board.clear();
      throw error;
    }
  }

  get canUndo(): boolean {
    return this.#history.back !== undefined;
  }

  get canRedo(): boolean {
    return this.#history.forth !== undefined;
  }

  /** Whether something is being done that takes its time: what is not to wait for that does nothing meanwhile. */
  get isBusy(): boolean {
    return this.#work !== undefined;
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
    if (this.#closed || this.isBusy) return false;
    const places = within && placesOfSlice(this.shape, within);
    const lots = this.#history.record(this.#board.drawn, this.#marks, places);
    if (!lots) return false;
    for (const lot of lots) this.#tally.take(lot);
    this.#keep(lots);
    return true;
  }

  /** @param within the only slice in which something is drawn otherwise */
  #change(marks: Marks, within: Slice): void {
    this.#marks = marks;
    this.#board.redraw();
    this.#record(within);
  }

  markSlice(slice: Slice, complete: boolean): void {
    if (!this.isBusy) this.#change(withSlice(this.#marks, this.#inFile(slice), complete), slice);
  }

  markWhole(whole: boolean): void {
    if (!this.isBusy) this.#change({ ...this.#marks, whole }, this.#board.slice);
  }

  fill(axis: 0 | 1 | 2, seed: Size3, value: number): void {
    if (this.isBusy) return;
    flood(this.#board.drawn, this.shape, axis, seed, value === 0 ? drawnBackground : value);
    this.#change(this.#marks, { axis, index: seed[axis] });
  }

  /**
   * Does what may take its time, after what is being done already; meanwhile nothing can be drawn.
   * @returns undefined where the case has been closed
   */
  async #alone<T>(work: () => Promise<T>): Promise<T | undefined> {
    while (this.#work) await this.#work;
    if (this.#closed) return undefined;
    this.#board.lock();
    this.step();
    this.#drawn = this.#board.drawn; // NiiVue may have made another one
    const done = work().finally(() => {
      this.#work = undefined;
      this.#letGo();
      if (this.#closed) return;
      this.#board.redraw();
      this.#board.unlock();
    });
    this.#work = done.then(
      () => undefined,
      () => undefined,
    );
    awaitWrite(this.#work);
    return done;
  }

  /** Draws voxels in pieces. @throws what the signal is aborted with: then all is as it was */
  async #draw(paints: readonly Paint[], signal: AbortSignal | undefined): Promise<Lot[]> {
    const lots: Lot[] = [];
    const draw = (paint: Paint): void => {
      const lot = this.#history.draw(this.#drawn, paint);
      this.#tally.take(lot);
      lots.push(lot);
    };
    const rest = restsUntil(signal);
    try {
      for (const paint of paints) {
        await rest();
        draw(paint);
      }
      signal?.throwIfAborted();
      return lots;
    } catch (error) {
      const [made, back] = [[...lots], restsUntil()];
      for (const { places, before } of made) {
        await back();
        draw({ places, values: before });
      }
      throw error;
    }
  }

  /** Takes a step to what it draws. */
  async #stepTo(paints: readonly Paint[], marks: Marks, signal: AbortSignal | undefined): Promise<void> {
    const lots = await this.#draw(paints, signal);
    if (lots.length === 0 && marks === this.#marks) return;
    this.#history.add(lots, marks);
    this.#marks = marks;
    this.#keep(lots);
  }

  undo(signal?: AbortSignal): Promise<void> {
    return this.#go(() => this.#history.back, signal);
  }

  redo(signal?: AbortSignal): Promise<void> {
    return this.#go(() => this.#history.forth, signal);
  }

  async #go(wayOf: () => Way | undefined, signal: AbortSignal | undefined): Promise<void> {
    await this.#alone(async () => {
      const way = wayOf();
      if (!way) return;
      const lots = await this.#draw(way.paints, signal);
      way.taken();
      this.#marks = way.marks;
      this.#keep(lots);
    });
  }

  /** Draws between drawn slices; returns in how many. */
  interpolate(axis: 0 | 1 | 2, signal?: AbortSignal): Promise<number | undefined> {
    const { shape } = this;
    return this.#alone(async () => {
      const known = this.drawnSlices(axis);
      const gaps = await gapsBetween(this.#drawn, known, { shape, axis }, restsUntil(signal));
      const across = { shape, axis, spacing: this.#spacing };
      const { paints, count } = await dataJob(
        'between',
        { gaps, across },
        { signal, transfer: buffersOf(gaps) },
      );
      await this.#stepTo(paints, this.#marks, signal);
      return count;
    });
  }

  /**
   * Grows strokes of classes and of background to the edges in the image, between the first and the last drawn slice; in a
   * large scan within the slice at hand.
   */
  async grow(slice: Slice, signal?: AbortSignal): Promise<void> {
    const { axis } = slice;
    await this.#alone(async () => {
      const { image, turn } = this.#board.greys(slice);
      const places = this.#board.isLarge ? placesOfSlice(this.shape, slice) : undefined;
      const shape = places
        ? (this.shape.map((length, along) => (along === axis ? 1 : length)) as unknown as Size3)
        : this.#fileShape;
      const slices = places ? [0] : this.drawnSlices(axis);
      const range = { axis, from: slices.at(0) ?? 0, to: slices.at(-1) ?? -1 };
      const drawn = places ? valuesAt(this.#drawn, places) : this.#drawn.slice();
      const transfer = [image.buffer, drawn.buffer];
      const grown = await dataJob('grow', { image, shape, turn, drawn, range }, { signal, transfer });
      const inScan = ({ places: found, values }: Paint): Paint => ({
        places: places ? found.map((at) => places[at]!) : found,
        values,
      });
      await this.#stepTo(grown.map(inScan), this.#marks, signal);
    });
  }

  /** Labels of a file on the scan's grid, in the order of the display. */
  labelsOf(file: VolumeFile, signal?: AbortSignal): Promise<Uint8Array> {
    return dataJob('values', { labels: file, turn: this.#turn }, { signal });
  }

  /** Draws what such labels say of where nothing is drawn; all of it then counts as looked at. */
  async accept(labels: Uint8Array, what: Acceptance = {}, signal?: AbortSignal): Promise<void> {
    await this.#alone(async () => {
      const paints = await accepted(this.#drawn, labels, this.shape, what, restsUntil(signal));
      const { slice, value } = what;
      const marks =
        value !== undefined
          ? this.#marks
          : slice
            ? withSlice(this.#marks, this.#inFile(slice), true)
            : { ...this.#marks, whole: true };
      await this.#stepTo(paints, marks, signal);
    });
  }

  /** The drawing that a label file makes of a case, in the order of the display. */
  drawingOf(label: VolumeFile, signal?: AbortSignal): Promise<FromLabels> {
    const image = this.item.images[0]!;
    return dataJob('drawing', { image, label, unknown: state.ignoreLabel, turn: this.#turn }, { signal });
  }

  /** Begins with such a drawing. */
  async take({ drawn, isWhole: whole }: FromLabels, signal?: AbortSignal): Promise<void> {
    await this.#alone(async () => {
      const paints = await paintsTo(this.#drawn, drawn, restsUntil(signal));
      await this.#stepTo(paints, { ...noMarks, whole }, signal);
    });
  }

  /** Where a voxel of the file is shown. */
  toDisplay(voxel: Size3): Size3 {
    return voxelOfDisplay(voxel, this.#fileShape, this.#turn);
  }

  /** Classes that had no name have one now. */
  keepNames(): void {
    const kept = knownDrawing(this.item);
    const names = kept && named(kept.names, this.#namesNow());
    if (names && !this.#closed && kept.names.join('\n') !== names.join('\n')) this.#keep([]);
  }

  #namesNow(): readonly string[] {
    const isHere = state.cases.some(({ images }) => images === this.item.images);
    if (isHere) this.#names = classNames(classCount());
    return this.#names;
  }

  /** Keeps what has changed. */
  #keep(news: readonly Lot[]): void {
    this.#namesNow(); // when it is written, other data may be there
    for (const lot of news) this.#news.push(lot);
    this.#isNew = true;
    if (!this.#isWriting) awaitWrite(this.#write());
  }

  /** The newest state, after what is being written. */
  async #write(): Promise<void> {
    this.#isWriting = true;
    const rest = restsUntil();
    while (this.#isNew) {
      await this.#work; // half of a step is not kept
      this.#isNew = false;
      for (const { places, after } of this.#news.splice(0)) {
        await rest();
        for (let index = 0; index < places.length; index++)
          this.#voxels[this.#placeInFile(places[index]!)] = after[index]!;
      }
      try {
        await keep(this.item, {
          shape: this.#fileShape,
          voxels: this.#voxels,
          marks: this.#marks,
          drawn: this.#tally.fewestSlices,
          names: this.#names,
        });
      } catch (error) {
        await tellUnsaved(this.item, error);
      }
    }
    this.#isWriting = false;
    this.#letGo();
  }

  /** Lets other tabs draw on it, once all is kept; what is being done is to be ended before. */
  async close(): Promise<void> {
    this.step();
    this.#closed = true;
    this.#letGo();
    await this.#work;
  }

  #letGo(): void {
    if (this.#closed && !this.#isWriting && !this.isBusy) this.#release();
  }
}
