/**
 * Python's pickle format as data: a stack machine over a fixed list of opcodes and names. Nothing is looked up, called
 * or executed; what is not on the lists is refused by its name.
 */

/** What a pickle may name, and what of it lies elsewhere in the file. */
export interface PickleContext {
  /** By module and name, such as `collections.OrderedDict`. */
  readonly globals: ReadonlyMap<string, Global>;
  /** What a persistent id stands for: in files of PyTorch, a storage. */
  readonly persistent: (id: unknown, machine: Machine) => unknown;
  /** Makes the error of a problem with damaged bytes, such as `its pickle ends early`. */
  readonly damaged: (problem: string) => Error;
  /** Makes the error of something that is only for Python, such as `a call of os.system`. */
  readonly refused: (what: string) => Error;
}

/** Something that pickles may name: a class, a function or a constant. */
export class Global {
  constructor(
    /** With its module. */
    readonly name: string,
    /** What calling it gives; absent where it is only mentioned. */
    readonly make?: (args: readonly unknown[], machine: Machine) => unknown,
  ) {}
}

/** An object that takes its state after it is made. */
export abstract class Stateful {
  abstract setState(state: unknown, machine: Machine): void;
}

/**
 * Bytes that what a pickle makes may take: more than any network does, and more for each byte of the pickle than its
 * smallest numbers do, of which trainings of many epochs note one for each class (numpy's take 9 a byte).
 */
const mostBytes = (length: number): number => 2 ** 26 + 12 * length;
/** As V8 keeps them, roughly. */
const bytesOf = { dict: 256, list: 48, item: 8, view: 200, kept: 40, other: 64 };

/** Values that wait on the stack. */
const mostStacked = 2 ** 18;

/** Tuples cannot be changed, as in Python; lists can. */
const tuple = (items: unknown[]): readonly unknown[] => Object.freeze(items);

/**
 * The value of the pickle that begins at `start`: lists and tuples as arrays, dicts as maps, sets as sets, integers
 * beyond 2^53 as bigints, and what the globals make.
 * @returns also where the pickle ends
 */
export function unpickle(
  bytes: Uint8Array,
  context: PickleContext,
  start = 0,
): { readonly value: unknown; readonly end: number } {
  const machine = new Machine(bytes, start, context);
  for (;;) {
    const code = machine.unsigned(1);
    if (code === stop) return { value: machine.pop(), end: machine.at };
    const operation = operations.get(code);
    if (!operation)
      throw context.refused(`the pickle instruction 0x${code.toString(16)} (byte ${machine.at - 1})`);
    operation(machine);
  }
}

export class Machine {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #stack: unknown[] = [];
  /** Lengths of the stack at the marks. */
  readonly #marks: number[] = [];
  readonly #memo = new Map<number, unknown>();
  #bytesMade = 0;

  constructor(
    bytes: Uint8Array,
    public at: number,
    readonly context: PickleContext,
  ) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** The error of a damaged pickle. */
  damaged(problem: string): Error {
    return this.context.damaged(`${problem} (byte ${this.at} of its pickle)`);
  }

  /** Counts bytes of what the pickle makes. */
  spend(bytes: number): void {
    this.#bytesMade += bytes;
    const most = mostBytes(this.#bytes.length);
    if (this.#bytesMade > most)
      throw this.context.damaged(`its pickle makes objects of more than ${Math.round(most / 2 ** 20)} MiB`);
  }

  take(length: number): Uint8Array {
    const from = this.at;
    if (from + length > this.#bytes.length) throw this.damaged('its pickle ends early');
    this.at += length;
    return this.#bytes.subarray(from, this.at);
  }

  unsigned(length: 1 | 2 | 4): number {
    const { byteOffset } = this.take(length);
    const at = byteOffset - this.#view.byteOffset;
    if (length === 1) return this.#view.getUint8(at);
    return length === 2 ? this.#view.getUint16(at, true) : this.#view.getUint32(at, true);
  }

  signed4(): number {
    return this.unsigned(4) | 0;
  }

  /** The one big-endian number of the format. */
  float(): number {
    this.take(8);
    return this.#view.getFloat64(this.at - 8);
  }

  /** Two's complement, as short as can be. */
  integer(length: number): number | bigint {
    const bytes = this.take(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]!);
    value = BigInt.asIntN(8 * length, value);
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }

  text(length: number): string {
    const bytes = this.take(length);
    try {
      return utf8.decode(bytes);
    } catch {
      throw this.damaged('its pickle holds a text that is not UTF-8');
    }
  }

  line(): string {
    const end = this.#bytes.indexOf(10, this.at);
    if (end < 0) throw this.damaged('its pickle ends early');
    const line = this.text(end - this.at);
    this.at = end + 1;
    return line;
  }

  push(value: unknown): void {
    if (this.#stack.length >= mostStacked)
      throw this.context.damaged(`its pickle stacks more than ${mostStacked} objects`);
    this.#stack.push(value);
  }

  pop(): unknown {
    if (this.#stack.length <= (this.#marks[this.#marks.length - 1] ?? 0))
      throw this.damaged('its pickle takes from an empty stack');
    return this.#stack.pop();
  }

  top(): unknown {
    const value = this.pop();
    this.#stack.push(value);
    return value;
  }

  mark(): void {
    this.spend(bytesOf.item);
    this.#marks.push(this.#stack.length);
  }

  /** What was pushed since the last mark. */
  popMark(): unknown[] {
    const from = this.#marks.pop();
    if (from === undefined) throw this.damaged('its pickle has no mark where it needs one');
    return this.#stack.splice(from);
  }

  popTuple(length: number): void {
    const items = Array.from({ length }, () => this.pop()).reverse();
    this.pushObject(tuple(items));
  }

  pushObject(value: object): void {
    this.spend(sizeOf(value));
    this.push(value);
  }

  pushGlobal(module: unknown, name: unknown): void {
    if (typeof module !== 'string' || typeof name !== 'string')
      throw this.damaged('its pickle names something by what is no text');
    const path = `${module}.${name}`;
    const global = this.context.globals.get(path);
    if (!global) throw this.context.refused(shortened(path));
    this.push(global);
  }

  /** Keeps what is on top of the stack, by default under the next number. */
  memoize(index = this.#memo.size): void {
    this.spend(bytesOf.kept);
    this.#memo.set(index, this.top());
  }

  recall(index: number): void {
    if (!this.#memo.has(index))
      throw this.damaged(`its pickle recalls number ${index}, which was never kept`);
    this.push(this.#memo.get(index));
  }

  /** What a global makes of arguments. */
  reduce(): void {
    const args = this.pop();
    const callee = this.pop();
    if (!(callee instanceof Global) || !Array.isArray(args))
      throw this.context.refused('a call of what is not known');
    if (!callee.make) throw this.context.refused(`a call of ${callee.name}`);
    const made = callee.make(args, this);
    this.spend(sizeOf(made));
    this.push(made);
  }

  build(): void {
    const state = this.pop();
    const target = this.top();
    // An OrderedDict's attributes: PyTorch notes versions of modules there.
    if (target instanceof Map) return;
    if (!(target instanceof Stateful)) throw this.context.refused("the setting of an object's attributes");
    target.setState(state, this);
  }

  setItems(items: readonly unknown[]): void {
    const target = this.top();
    if (!(target instanceof Map) || items.length % 2 !== 0)
      throw this.damaged('its pickle sets items of what is no dict');
    this.spend(bytesOf.item * items.length);
    for (let i = 0; i < items.length; i += 2) target.set(items[i], items[i + 1]);
  }

  append(items: readonly unknown[]): void {
    const target = this.top();
    if (!Array.isArray(target) || Object.isFrozen(target))
      throw this.damaged('its pickle appends to what is no list');
    this.spend(bytesOf.item * items.length);
    for (const item of items) target.push(item);
  }

  addItems(items: readonly unknown[]): void {
    const target = this.top();
    if (!(target instanceof Set)) throw this.damaged('its pickle adds to what is no set');
    this.spend(bytesOf.kept * items.length);
    for (const item of items) target.add(item);
  }
}

const sizeOf = (value: unknown): number => {
  if (Array.isArray(value)) return bytesOf.list + bytesOf.item * value.length;
  if (value instanceof Uint8Array) return bytesOf.view;
  return value instanceof Map || value instanceof Set ? bytesOf.dict : bytesOf.other;
};

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export const shortened = (text: string): string => (text.length > 100 ? `${text.slice(0, 97)}...` : text);

/** Its instruction ends a pickle. */
const stop = 0x2e;

const letter = (text: string): number => text.charCodeAt(0);

/** In the order of the format's description. */
const operations: ReadonlyMap<number, (machine: Machine) => void> = new Map([
  // PROTO, FRAME: protocols and frames change nothing that is on this list.
  [0x80, (machine) => void machine.take(1)],
  [0x95, (machine) => void machine.take(8)],
  // NONE, NEWTRUE, NEWFALSE
  [letter('N'), (machine) => machine.push(null)],
  [0x88, (machine) => machine.push(true)],
  [0x89, (machine) => machine.push(false)],
  // BININT, BININT1, BININT2, LONG1, BINFLOAT
  [letter('J'), (machine) => machine.push(machine.signed4())],
  [letter('K'), (machine) => machine.push(machine.unsigned(1))],
  [letter('M'), (machine) => machine.push(machine.unsigned(2))],
  [0x8a, (machine) => machine.push(machine.integer(machine.unsigned(1)))],
  [letter('G'), (machine) => machine.push(machine.float())],
  // BINUNICODE, SHORT_BINUNICODE, BINBYTES, SHORT_BINBYTES
  [letter('X'), (machine) => machine.push(machine.text(machine.unsigned(4)))],
  [0x8c, (machine) => machine.push(machine.text(machine.unsigned(1)))],
  [letter('B'), (machine) => machine.pushObject(machine.take(machine.unsigned(4)))],
  [letter('C'), (machine) => machine.pushObject(machine.take(machine.unsigned(1)))],
  // EMPTY_LIST, EMPTY_DICT, EMPTY_SET, EMPTY_TUPLE
  [letter(']'), (machine) => machine.pushObject([])],
  [letter('}'), (machine) => machine.pushObject(new Map())],
  [0x8f, (machine) => machine.pushObject(new Set())],
  [letter(')'), (machine) => machine.popTuple(0)],
  // MARK, TUPLE, TUPLE1 to TUPLE3
  [letter('('), (machine) => machine.mark()],
  [letter('t'), (machine) => machine.pushObject(tuple(machine.popMark()))],
  [0x85, (machine) => machine.popTuple(1)],
  [0x86, (machine) => machine.popTuple(2)],
  [0x87, (machine) => machine.popTuple(3)],
  // APPEND, APPENDS, SETITEM, SETITEMS, ADDITEMS
  [letter('a'), (machine) => machine.append([machine.pop()])],
  [letter('e'), (machine) => machine.append(machine.popMark())],
  [letter('s'), (machine) => machine.setItems([machine.pop(), machine.pop()].reverse())],
  [letter('u'), (machine) => machine.setItems(machine.popMark())],
  [0x90, (machine) => machine.addItems(machine.popMark())],
  // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
  [letter('q'), (machine) => machine.memoize(machine.unsigned(1))],
  [letter('r'), (machine) => machine.memoize(machine.unsigned(4))],
  [0x94, (machine) => machine.memoize()],
  [letter('h'), (machine) => machine.recall(machine.unsigned(1))],
  [letter('j'), (machine) => machine.recall(machine.unsigned(4))],
  // GLOBAL, STACK_GLOBAL
  [letter('c'), (machine) => machine.pushGlobal(machine.line(), machine.line())],
  [
    0x93,
    (machine) => machine.pushGlobal(...([machine.pop(), machine.pop()].reverse() as [unknown, unknown])),
  ],
  // REDUCE, NEWOBJ, BUILD, BINPERSID
  [letter('R'), (machine) => machine.reduce()],
  [0x81, (machine) => machine.reduce()],
  [letter('b'), (machine) => machine.build()],
  [letter('Q'), (machine) => machine.push(machine.context.persistent(machine.pop(), machine))],
] satisfies [number, (machine: Machine) => void][]);
