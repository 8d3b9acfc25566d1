/**
 * A bump allocator over the linear memory: blocks are handed out one after another and all given back at once
 * by reset(), so that a data set of any length needs the memory of its largest volume.
 */

const alignment: usize = 16;

const base: usize = (__heap_base + alignment - 1) & ~(alignment - 1);
let top: usize = base;

/** Gives every block back. The memory keeps its size and is used again. */
export function reset(): void {
  top = base;
}

/** Address of a block of `bytes` bytes, aligned to 16; 0 if the memory cannot grow that far. */
export function allocate(bytes: usize): usize {
  const block = top;
  const end = (<u64>block + <u64>bytes + <u64>(alignment - 1)) & ~(<u64>(alignment - 1));
  if (end > 0xffff0000) return 0;
  const pages = <i32>((end + 0xffff) >> 16);
  const missing = pages - memory.size();
  if (missing > 0 && memory.grow(missing) < 0) return 0;
  top = <usize>end;
  return block;
}
