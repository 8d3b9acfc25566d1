/** What can be undone and done again: of each step the voxels that it changed, as many steps as fit. */
import type { Marks, Paint } from './drawing.ts';

/** Voxels that have changed, with their values. */
export interface Lot {
  readonly places: Uint32Array<ArrayBuffer>;
  readonly before: Uint8Array<ArrayBuffer>;
  readonly after: Uint8Array<ArrayBuffer>;
}

interface Step {
  readonly lots: readonly Lot[];
  readonly marksBefore: Marks;
  readonly marks: Marks;
}

/** A step that can be taken back, or again. */
export interface Way {
  /** What is to be drawn for that. */
  readonly paints: readonly Paint[];
  /** Those that hold then. */
  readonly marks: Marks;
  /** To be called when it is drawn. */
  readonly taken: () => void;
}

/** Bytes that steps may take; the last one stays in any case. */
const room = 256 * 2 ** 20;
const bytesOf = ({ lots }: Step): number =>
  lots.reduce((sum, { places }) => sum + 6 * places.length, 256 * (lots.length + 1));

export class DrawingHistory {
  readonly #known: Uint8Array;
  #marks: Marks;
  readonly #done: Step[] = [];
  readonly #undone: Step[] = [];

  /** @param known a copy of what is drawn at the beginning, kept up from here on */
  constructor(known: Uint8Array, marks: Marks) {
    this.#known = known;
    this.#marks = marks;
  }

  /**
   * Takes a step to what there is now; undefined where nothing has changed.
   * @param within where something may have changed, in ascending order: anywhere if it is not given
   */
  record(drawn: Uint8Array, marks: Marks, within?: Uint32Array<ArrayBuffer>): readonly Lot[] | undefined {
    const known = this.#known;
    const places = within ? within.filter((at) => known[at] !== drawn[at]) : differences(known, drawn);
    if (places.length === 0 && marks === this.#marks) return undefined;
    const values = new Uint8Array(places.length);
    for (let index = 0; index < places.length; index++) values[index] = drawn[places[index]!]!;
    const lots = places.length > 0 ? [this.draw(drawn, { places, values })] : [];
    this.add(lots, marks);
    return lots;
  }

  /** Draws some of the voxels of a step that is being taken. */
  draw(drawn: Uint8Array, { places, values }: Paint): Lot {
    const known = this.#known;
    const before = new Uint8Array(places.length);
    for (let index = 0; index < places.length; index++) {
      const at = places[index]!;
      before[index] = known[at]!;
      drawn[at] = known[at] = values[index]!;
    }
    return { places, before, after: values };
  }

  /** Adds a step whose voxels are drawn. */
  add(lots: readonly Lot[], marks: Marks): void {
    this.#done.push({ lots, marks, marksBefore: this.#marks });
    this.#marks = marks;
    this.#undone.length = 0;
    let bytes = this.#done.reduce((sum, step) => sum + bytesOf(step), 0);
    while (bytes > room && this.#done.length > 1) bytes -= bytesOf(this.#done.shift()!);
  }

  /** What takes the last step back; undefined where there is none. */
  get back(): Way | undefined {
    return this.#way(this.#done, this.#undone, 'before', 'marksBefore');
  }

  /** What takes the step again that was undone last; undefined where there is none. */
  get forth(): Way | undefined {
    return this.#way(this.#undone, this.#done, 'after', 'marks');
  }

  #way(
    from: Step[],
    to: Step[],
    values: 'before' | 'after',
    marks: 'marksBefore' | 'marks',
  ): Way | undefined {
    const step = from.at(-1);
    if (!step) return undefined;
    return {
      paints: step.lots.map((lot) => ({ places: lot.places, values: lot[values] })),
      marks: step[marks],
      taken: () => {
        to.push(from.pop()!);
        this.#marks = step[marks];
      },
    };
  }
}

/** Where two drawings differ, found in one pass. */
function differences(a: Uint8Array, b: Uint8Array): Uint32Array<ArrayBuffer> {
  let found = new Uint32Array(1024);
  let count = 0;
  for (let at = 0; at < a.length; at++) {
    if (a[at] === b[at]) continue;
    if (count === found.length) {
      const larger = new Uint32Array(2 * count);
      larger.set(found);
      found = larger;
    }
    found[count++] = at;
  }
  return found.slice(0, count);
}
