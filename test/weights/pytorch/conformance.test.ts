// Files as PyTorch writes them, and files that must be refused, against their description; they lie next to the checkout.
import { expect, test } from 'vitest';
import { InvalidModel } from '../../../src/errors.ts';
import { readPytorch } from '../../../src/weights/pytorch/read.ts';
import { PytorchTensor } from '../../../src/weights/pytorch/tensor.ts';
import { stateDictOf } from '../../../src/weights/pytorch/state-dict.ts';
import { bytesOf } from '../../support/files.ts';

interface Description {
  accepted: Record<
    string,
    { path: string; tensors: Record<string, { dtype: string; shape: number[]; values: number[] }> }
  >;
  refused: Record<string, string>;
}

const folder = '../shared/data/interop/formats';
const list = await bytesOf(`${folder}/fixture.json`);
const known = list && (JSON.parse(new TextDecoder().decode(list)) as Description);

const fileAt = async (name: string): Promise<File> => new File([(await bytesOf(`${folder}/${name}`))!], name);

/** What each refusal has to say. */
const reasons: Record<string, RegExp> = {
  'malicious-os-system.pth': /holds posix\.system, .*model\.state_dict\(\)/,
  'malicious-legacy.pth': /holds posix\.system/,
  'malicious-eval.pth': /holds __builtin__\.eval/,
  'malicious-getattr.pth': /holds __builtin__\.getattr/,
  'malicious-protocol4.pth': /holds subprocess\.check_output/,
  'malicious-plain-pickle.pth': /plain pickle, .*torch\.save\(model\.state_dict/,
  'truncated.pth': /not a readable file of PyTorch: its zip archive .*another copy/,
  'missing-storage.pth': /storage "0" are not in it/,
  'short-storage.pth': /storage "0" has 8 bytes; expected 648, 162 of float32/,
  'beyond-storage.pth': /shape \[250, 2, 3, 3, 3\].* beyond its storage of 162 numbers/,
  'bad-byteorder.pth': /byteorder is "middle"; expected little or big/,
  'torchscript.pt': /TorchScript.*state_dict\(\)/,
  'memo-loop.pth': /holds no weights.*it has "a"/,
  'deep.pth': /compressed, which torch\.save never does/,
};

if (!known) test('files of PyTorch', ({ skip }) => skip(`${folder} is not there`));
else {
  test.each(Object.entries(known.accepted))('%s is read', async (name, { path, tensors }) => {
    const file = await fileAt(name);
    let saved = await readPytorch(file);
    for (const key of path.split('.').slice(1)) saved = (saved as Map<string, unknown>).get(key);
    const found = saved as Map<string, PytorchTensor>;
    for (const [key, { dtype, shape, values }] of Object.entries(tensors)) {
      const tensor = found.get(key)!;
      expect([tensor.type.name, tensor.shape], key).toEqual([dtype, shape]);
      const numbers = await tensor.read();
      expect(numbers.length).toBe(shape.reduce((product, size) => product * size, 1));
      expect([...numbers.subarray(0, 24)], key).toEqual(values.map(Math.fround));
    }
    expect([...found.values()].filter((value) => value instanceof PytorchTensor)).toHaveLength(
      Object.keys(tensors).length,
    );
  });

  test.each(Object.keys(known.refused))('%s is refused', async (name) => {
    const file = await fileAt(name);
    const opened = readPytorch(file).then((saved) => stateDictOf(saved, name));
    await expect(opened).rejects.toThrow(reasons[name]);
    await expect(opened).rejects.toThrow(InvalidModel);
  });
}
