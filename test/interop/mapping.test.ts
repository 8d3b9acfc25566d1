/** Weights of other tools' networks under our names and back, against the state dicts that those tools list. */
import { describe, expect, test } from 'vitest';
import { InvalidModel } from '../../src/errors.ts';
import { theirShapes, toOurs, toTheirs, type Mapping } from '../../src/interop/mapping.ts';
import { openNnunet } from '../../src/interop/nnunet/folder.ts';
import { nnunetMapping } from '../../src/interop/nnunet/weights.ts';
import { layoutParameters } from '../../src/model/parameters.ts';
import type { NamedTensor } from '../../src/weights/safetensors.ts';
import { readStateDict } from '../../src/weights/pytorch/state-dict.ts';
import { interopFolder, nnunetFixture, nnunetFolders } from '../support/interop.ts';

const asRead = ({ shape, data }: NamedTensor) => ({ shape, read: () => Promise.resolve(data) });
const file = { name: 'a.pth', describedBy: 'plans.json' };

describe.each(nnunetFolders)('nnunet-%s', (name) => {
  test('names, aliases, shapes and numbers of the file, in its order', async ({ skip }) => {
    const found = await nnunetFixture(name);
    if (!found) return skip(`${interopFolder} is not there`);
    const { config, folds } = await openNnunet(found.files);
    const mapping = nnunetMapping(config);
    const { parameters } = layoutParameters(config);
    const { stateDict, canonicalNames } = found.fixture;
    expect([...theirShapes(mapping, parameters).keys()]).toEqual(canonicalNames);
    const ours = new Map<string, NamedTensor>();
    for (const [key, tensor] of folds[0]!.weights)
      ours.set(key, { shape: tensor.shape, data: await tensor.read() });
    const theirs = toTheirs(mapping, ours);
    expect([...theirs].map(([key, { shape }]) => [key, shape])).toEqual(Object.entries(stateDict));
    const saved = await readStateDict(found.files[2]!.source, 'a.pth');
    for (const [key, { data }] of theirs) {
      const numbers = await saved.get(key)!.read();
      expect(numbers.length, key).toBe(data.length);
      expect(
        numbers.findIndex((value, index) => value !== data[index]),
        key,
      ).toBe(-1);
    }
  });
});

/** Both changes at once, with unequal parts of a concatenation. */
const mapping: Mapping = [
  { theirs: 'a', ours: 'x', layout: { firstInputsLast: 2, kernelReversed: true } },
  { theirs: 'b', ours: 'y' },
  { theirs: 'again.a', ours: 'x', layout: { firstInputsLast: 2, kernelReversed: true } },
];
const x = { shape: [2, 5, 2, 3, 4], data: Float32Array.from({ length: 240 }, (_, i) => i) };
const y = { shape: [3], data: Float32Array.of(7, 8, 9) };
const ours = new Map([
  ['x', x],
  ['y', y],
]);

test('the order of inputs and kernel axes, each number at its place, and back', async () => {
  const theirs = toTheirs(mapping, ours);
  expect([...theirs.keys()]).toEqual(['a', 'b', 'again.a']);
  expect(theirs.get('again.a')).toBe(theirs.get('a'));
  expect(theirs.get('b')!.data).toBe(y.data);
  const { shape, data } = theirs.get('a')!;
  expect(shape).toEqual([2, 5, 4, 3, 2]);
  for (let o = 0; o < 2; o++)
    for (let i = 0; i < 5; i++)
      for (let k = 0; k < 2; k++)
        for (let j = 0; j < 3; j++)
          for (let l = 0; l < 4; l++) {
            const there = i < 2 ? i + 3 : i - 2;
            expect(data[(((o * 5 + there) * 4 + l) * 3 + j) * 2 + k]).toBe(
              x.data[(((o * 5 + i) * 2 + k) * 3 + j) * 4 + l],
            );
          }
  // Aliases are left aside, and so are counters of batch norms.
  const dict = new Map([...theirs].map(([key, tensor]) => [key, asRead(tensor)]));
  dict.set('b.num_batches_tracked', asRead({ shape: [], data: Float32Array.of(3) }));
  const back = toOurs(mapping, dict, ours, file);
  expect([...back.keys()]).toEqual(['x', 'y']);
  expect([back.get('x')!.shape, await back.get('x')!.read()]).toEqual([x.shape, x.data]);
  expect(await back.get('y')!.read()).toBe(y.data);
});

test('what is missing, surplus or of another shape is refused by name', () => {
  const dict = new Map([...toTheirs(mapping, ours)].map(([key, tensor]) => [key, asRead(tensor)]));
  const without = (name: string) => new Map([...dict].filter(([key]) => key !== name));
  const read = (changed: typeof dict) => () => toOurs(mapping, changed, ours, file);
  expect(read(without('again.a'))).not.toThrow();
  expect(read(without('b'))).toThrow(/a\.pth lacks "b": it is not of the network that plans\.json/);
  expect(read(new Map(dict).set('c', asRead(y)))).toThrow(/a\.pth holds "c", for which .* has no place/);
  expect(read(new Map(dict).set('a', asRead(x)))).toThrow(
    /has a of shape \[2, 5, 2, 3, 4\]; expected \[2, 5, 4, 3, 2\], as plans\.json says/,
  );
  expect(read(without('b'))).toThrow(InvalidModel);
  expect(() => toTheirs(mapping, new Map([['x', x]]))).toThrow(/the network lacks "y"/);
  expect(() => toTheirs(mapping, new Map(ours).set('z', y))).toThrow(/the network has "z": the other tool/);
});
