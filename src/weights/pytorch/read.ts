/**
 * Files that torch.save wrote (.pth, .pt, .ckpt). Their structure is read as data: nothing of a file is executed.
 * Tensors are read one by one when they are asked for, so that a checkpoint costs no more memory than its structure
 * and the weights that are wanted of it.
 */
import { openRanges, type ByteRanges } from '../../data/byte-ranges.ts';
import { sourceSchema, type Source } from '../../data/source.ts';
import { assertOptions } from '../../options.ts';
import { fileKind, otherKinds, tellingBytes, type FileKind } from '../file-kind.ts';
import { readArchive, type Saved } from './archive.ts';
import { failuresOf } from './failures.ts';
import { readLegacy } from './legacy.ts';

export { PytorchTensor } from './tensor.ts';

/** What this reader says of files of other kinds. */
const advice: Readonly<Record<Exclude<FileKind, 'zip' | 'legacy'>, string>> = {
  ...otherKinds,
  safetensors: 'it is a safetensors file; give it where those are read',
  pickle:
    'it is a plain pickle, which may run whatever it wants in Python, not a file of torch.save; if you trust it, ' +
    'load it in Python and save the weights with torch.save(model.state_dict(), "weights.pth")',
};

/**
 * What was saved: dicts as Map, lists and tuples as arrays, sets as Set, numbers, texts, `PytorchTensor`s, and numbers
 * of numpy as numbers.
 * @param name what messages call the file
 * @throws InvalidModel for a file that is damaged, is no file of torch.save, or needs Python to be understood
 * @example
 * ```js
 * const saved = await readPytorch('weights.pth'); // maps, lists, numbers, PytorchTensors
 * console.log(saved);
 * ```
 */
export async function readPytorch(source: Source, name?: string): Promise<unknown> {
  assertOptions('readPytorch', { source: sourceSchema }, { source });
  return (await readSaved(source, name)).value;
}

/** The same with the description that files of this package carry. */
export async function readSaved(source: Source | ByteRanges, name?: string): Promise<Saved> {
  const file: ByteRanges = await openRanges(source, name);
  const failures = failuresOf(name ?? file.name);
  const kind = fileKind(await file.read(0, Math.min(file.size, tellingBytes)));
  if (kind === 'zip') return readArchive(file, failures);
  if (kind === 'legacy') return { value: await readLegacy(file, failures) };
  throw failures.other(
    kind === undefined ? 'it is no file of torch.save; check that it is the right file' : advice[kind],
  );
}
