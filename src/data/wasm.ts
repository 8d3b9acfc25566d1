/**
 * The AssemblyScript module, instantiated once, and copies into and out of its memory. Its bytes are inlined, so
 * that it loads alike in Node, in a browser and under every bundler.
 */
import { OutOfMemory } from '../errors.ts';
import { formatBytes } from '../format.ts';
import { wasmBase64 } from '../generated/wasm.ts';

/** What wasm/assembly/index.ts exports. Pointers and counts are unsigned 32-bit numbers; all sizes in bytes. */
export interface WasmExports {
  readonly memory: WebAssembly.Memory;
  /** Gives every block back. */
  readonly reset: () => void;
  /** A block, aligned to 16 bytes; 0 if there is no memory. `allocate` below throws instead. */
  readonly allocate: (bytes: number) => number;
  /** Voxels to float32; 0 for a datatype that cannot be decoded. */
  readonly decode: (
    source: number,
    target: number,
    count: number,
    datatype: number,
    bigEndian: boolean,
    slope: number,
    intercept: number,
  ) => number;
  /** target[origin + x * tx + y * ty + z * tz] = source(x, y, z), float32, x fastest in the source. */
  readonly reorient: (
    source: number,
    target: number,
    nx: number,
    ny: number,
    nz: number,
    origin: number,
    tx: number,
    ty: number,
    tz: number,
  ) => void;
}

/** Not called `exports`: bundlers and test runners that wrap modules in functions have that name for their own. */
let instantiated: WasmExports | undefined;

/** The module's exports. The first call instantiates it, synchronously. */
export function wasm(): WasmExports {
  if (!instantiated) {
    const bytes = Uint8Array.from(atob(wasmBase64), (letter) => letter.charCodeAt(0));
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes));
    instantiated = instance.exports as unknown as WasmExports;
  }
  return instantiated;
}

/**
 * A block of WASM memory, aligned to 16 bytes and valid until `wasm().reset()`. It may move the memory: take
 * views (`floats`) after the last allocation.
 * @throws OutOfMemory beyond the 4 GiB that WASM can address, or what the machine has
 */
export function allocate(bytes: number): number {
  const { memory, allocate: take } = wasm();
  const block = bytes < 2 ** 32 ? take(bytes) >>> 0 : 0;
  if (block === 0)
    throw new OutOfMemory(
      `another ${formatBytes(bytes)} do not fit into the memory that volumes are read in, which has ` +
        `${formatBytes(memory.buffer.byteLength)}, at most 4 GiB; use smaller volumes.`,
      bytes,
      2 ** 32,
    );
  return block;
}

/** Copies an array into a new block. */
export function copyIn(data: Uint8Array | Float32Array): number {
  const block = allocate(data.byteLength);
  new Uint8Array(wasm().memory.buffer).set(
    new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    block,
  );
  return block;
}

/** A view of `count` float32 at `pointer`, valid until the next allocation. */
export function floats(pointer: number, count: number): Float32Array {
  return new Float32Array(wasm().memory.buffer, pointer, count);
}

/** A copy of `count` float32 at `pointer`. */
export function copyOut(pointer: number, count: number): Float32Array<ArrayBuffer> {
  return new Float32Array(floats(pointer, count));
}
