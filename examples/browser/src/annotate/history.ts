/** What can be undone and done again: of each step the voxels that it changed, as many steps as fit. */
import type { Marks } from './drawing.ts';

/** Voxels that have changed, with their values, and the marks that hold from then on. */
export interface Change {
  readonly places: Uint32Array;
  readonly before: Uint8Array;
  readonly after: Uint8Array;
  readonly marks: Marks;
}

interface Step extends Change {
  readonly marksBefore: Marks;
}

/** Bytes that steps may take; the last one stays in any case. */
const room = 256 * 2 ** 20;
const bytesOf = ({ places }: Step): number => 6 * places.length + 256;

export class DrawingHistory {
  readonly #known: Uint8Array;
  #marks: Marks;
  readonly #done: Step[] = [];
  #undone: Step[] = [];

  /** @param drawn as it is at the beginning; it is copied */
  constructor(drawn: Uint8Array, marks: Marks) {
    this.#known = drawn.slice();
    this.#marks = marks;
  }

  get canUndo(): boolean {
    return this.#done.length > 0;
  }

  get canRedo(): boolean {
    return this.#undone.length > 0;
  }

  /**
   * Takes a step to what there is now; undefined where nothing has changed.
   * @param within where something may have changed, in ascending order: anywhere if it is not given
   */
  record(drawn: Uint8Array, marks: Marks, within?: Uint32Array): Change | undefined {
    const known = this.#known;
    const places = within ? within.filter((at) => known[at] !== drawn[at]) : differences(known, drawn);
    if (places.length === 0 && marks === this.#marks) return undefined;
    const before = Uint8Array.from(places, (at) => known[at]!);
    const after = Uint8Array.from(places, (at) => drawn[at]!);
    places.forEach((at, index) => (known[at] = after[index]!));
    const step = { places, before, after, marks, marksBefore: this.#marks };
    this.#done.push(step);
    this.#marks = marks;
    this.#undone = [];
    let bytes = this.#done.reduce((sum, step) => sum + bytesOf(step), 0);
    while (bytes > room && this.#done.length > 1) bytes -= bytesOf(this.#done.shift()!);
    return step;
  }

  /** Takes the last step back in `drawn`; undefined where there is none. */
  undo(drawn: Uint8Array): Change | undefined {
    const step = this.#done.pop();
    if (!step) return undefined;
    this.#undone.push(step);
    const { places, before, after, marksBefore } = step;
    return this.#set(drawn, { places, before: after, after: before, marks: marksBefore });
  }

  /** Takes the step again that was undone last; undefined where there is none. */
  redo(drawn: Uint8Array): Change | undefined {
    const step = this.#undone.pop();
    if (!step) return undefined;
    this.#done.push(step);
    return this.#set(drawn, step);
  }

  #set(drawn: Uint8Array, change: Change): Change {
    change.places.forEach((at, index) => (drawn[at] = this.#known[at] = change.after[index]!));
    this.#marks = change.marks;
    return change;
  }
}

/** Where two drawings differ, found in one pass. */
function differences(a: Uint8Array, b: Uint8Array): Uint32Array {
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
