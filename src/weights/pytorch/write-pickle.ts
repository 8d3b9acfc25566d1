/** Python's pickle format, protocol 2 as torch.save writes it, of the few things that files of weights are made of. */

/** A list in Python, where an array of JavaScript is one, or a tuple. */
export class Tuple {
  constructor(readonly items: readonly Pickled[]) {}
}

/** A name of a module, such as `torch.FloatStorage`. */
export class Name {
  constructor(readonly path: string) {}
}

/** What a function or class of a module gives for these arguments. */
export class Call {
  constructor(
    readonly path: string,
    readonly args: readonly Pickled[] = [],
    /** Of a dict that it gives. */
    readonly entries?: ReadonlyMap<string, Pickled>,
  ) {}
}

/** A number that is a float in Python, though it may be whole. */
export class Float {
  constructor(readonly value: number) {}
}

/** What lies outside of the pickle, by what the pickle says of it. */
export class Persistent {
  constructor(readonly id: Tuple) {}
}

/** Arrays become lists, maps and plain objects dicts, whole numbers ints. */
export type Pickled =
  | null
  | boolean
  | number
  | string
  | Float
  | Tuple
  | Name
  | Call
  | Persistent
  | readonly Pickled[]
  | ReadonlyMap<string, Pickled>
  | { readonly [key: string]: Pickled };

const ascii = (letter: string): number => letter.charCodeAt(0);

export function pickle(value: Pickled): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  writer.bytes(0x80, 2); // PROTO
  writer.write(value);
  writer.op('.');
  return writer.finish();
}

class Writer {
  #buffer = new Uint8Array(2 ** 12);
  #length = 0;

  finish(): Uint8Array<ArrayBuffer> {
    return this.#buffer.slice(0, this.#length);
  }

  #reserve(count: number): DataView<ArrayBuffer> {
    if (this.#length + count > this.#buffer.length) {
      const larger = new Uint8Array(2 * (this.#length + count));
      larger.set(this.#buffer);
      this.#buffer = larger;
    }
    this.#length += count;
    return new DataView(this.#buffer.buffer, this.#length - count, count);
  }

  bytes(...values: readonly number[]): void {
    this.#raw(Uint8Array.from(values));
  }

  #raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.#length - bytes.length);
  }

  op(letter: string): void {
    this.bytes(ascii(letter));
  }

  write(value: Pickled): void {
    if (value === null) this.op('N');
    else if (typeof value === 'boolean') this.bytes(value ? 0x88 : 0x89);
    else if (typeof value === 'number') this.#number(value);
    else if (typeof value === 'string') this.#text(value);
    else if (value instanceof Float) this.#float(value.value);
    else if (value instanceof Tuple) this.#tuple(value.items);
    else if (value instanceof Name) this.#name(value.path);
    else if (value instanceof Call) this.#call(value);
    else if (value instanceof Persistent) {
      this.write(value.id);
      this.op('Q');
    } else if (Array.isArray(value)) {
      this.op(']');
      if (value.length > 0) this.#marked(value as readonly Pickled[], 'e');
    } else {
      this.op('}');
      this.#items(value instanceof Map ? value : new Map(Object.entries(value)));
    }
  }

  /** BININT, LONG1 of eight bytes, or BINFLOAT. */
  #number(value: number): void {
    if (!Number.isSafeInteger(value)) return this.#float(value);
    if (value === (value | 0)) {
      this.op('J');
      this.#reserve(4).setInt32(0, value, true);
    } else {
      this.bytes(0x8a, 8);
      this.#reserve(8).setBigInt64(0, BigInt(value), true);
    }
  }

  #float(value: number): void {
    this.op('G');
    this.#reserve(8).setFloat64(0, value);
  }

  /** BINUNICODE */
  #text(value: string): void {
    const letters = new TextEncoder().encode(value);
    this.op('X');
    this.#reserve(4).setUint32(0, letters.length, true);
    this.#raw(letters);
  }

  #tuple(items: readonly Pickled[]): void {
    if (items.length === 0) this.op(')');
    else this.#marked(items, 't');
  }

  /** GLOBAL */
  #name(path: string): void {
    const dot = path.lastIndexOf('.');
    this.#raw(new TextEncoder().encode(`c${path.slice(0, dot)}\n${path.slice(dot + 1)}\n`));
  }

  /** REDUCE */
  #call({ path, args, entries }: Call): void {
    this.#name(path);
    this.#tuple(args);
    this.op('R');
    if (entries) this.#items(entries);
  }

  /** SETITEMS */
  #items(entries: ReadonlyMap<string, Pickled>): void {
    if (entries.size > 0) this.#marked([...entries].flat(), 'u');
  }

  #marked(items: readonly Pickled[], letter: string): void {
    this.op('(');
    for (const item of items) this.write(item);
    this.op(letter);
  }
}
