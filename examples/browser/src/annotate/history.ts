/** What can be undone and done again: of each step the voxels that it changed, as many steps as fit. */
import type { Marks } from './drawing.ts';

interface Step {
  readonly places: Uint32Array;
  readonly before: Uint8Array;
  readonly after: Uint8Array;
  readonly marksBefore: Marks;
  readonly marksAfter: Marks;
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

  /** Takes a step to what there is now; false where nothing has changed. */
  record(drawn: Uint8Array, marks: Marks): boolean {
    const known = this.#known;
    let count = 0;
    for (let at = 0; at < known.length; at++) if (known[at] !== drawn[at]) count++;
    if (count === 0 && marks === this.#marks) return false;
    const places = new Uint32Array(count);
    for (let at = 0, next = 0; next < count; at++) if (known[at] !== drawn[at]) places[next++] = at;
    const before = Uint8Array.from(places, (at) => known[at]!);
    const after = Uint8Array.from(places, (at) => drawn[at]!);
    places.forEach((at, index) => (known[at] = after[index]!));
    this.#done.push({ places, before, after, marksBefore: this.#marks, marksAfter: marks });
    this.#marks = marks;
    this.#undone = [];
    let bytes = this.#done.reduce((sum, step) => sum + bytesOf(step), 0);
    while (bytes > room && this.#done.length > 1) bytes -= bytesOf(this.#done.shift()!);
    return true;
  }

  /** Takes the last step back in `drawn`; returns the marks from before it, or undefined where there is none. */
  undo(drawn: Uint8Array): Marks | undefined {
    const step = this.#done.pop();
    if (!step) return undefined;
    this.#undone.push(step);
    return this.#set(drawn, step.places, step.before, step.marksBefore);
  }

  /** Takes the step again that was undone last; returns the marks after it, or undefined where there is none. */
  redo(drawn: Uint8Array): Marks | undefined {
    const step = this.#undone.pop();
    if (!step) return undefined;
    this.#done.push(step);
    return this.#set(drawn, step.places, step.after, step.marksAfter);
  }

  #set(drawn: Uint8Array, places: Uint32Array, values: Uint8Array, marks: Marks): Marks {
    places.forEach((at, index) => (drawn[at] = this.#known[at] = values[index]!));
    return (this.#marks = marks);
  }
}
