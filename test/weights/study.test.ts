/**
 * A plain network of PyTorch in the ways that people save one: under this package's names it computes PyTorch's numbers,
 * in evaluation and in training; the other files hold the same tensors, and are told apart.
 */
import { describe, expect, test } from 'vitest';
import { InvalidModel } from '../../src/errors.ts';
import { readModel } from '../../src/weights/model-file.ts';
import { readStateDict } from '../../src/weights/pytorch/state-dict.ts';
import { interopFixture, interopFolder, type InteropFixture } from '../support/interop.ts';
import { expectForward } from '../support/network.ts';

interface StudyFixture extends InteropFixture {
  readonly features: readonly number[];
  readonly classes: number;
  /** With the statistics of the batch. */
  readonly trainingForward: InteropFixture['forward'];
  /** Names in the order of the file; as `study-our-names` holds them under ours. */
  readonly stateDict: Readonly<Record<string, readonly number[]>>;
}

const found = await interopFixture<StudyFixture>('study');

if (!found) test('a plain network of PyTorch', ({ skip }) => skip(`${interopFolder} is not there`));
else
  describe('a plain network of PyTorch', () => {
    const { fixture, bytesAt } = found;

    test.each(['study-our-names.pth', 'study-our-names.safetensors'])('%s', async (name) => {
      const { description, weights } = await readModel(await bytesAt(name), name);
      const { features, classes } = fixture;
      expect(description.config).toEqual({
        inChannels: 1,
        classes,
        features,
        norm: 'batch',
        activation: 'relu',
      });
      /** Gradients are stored under the generic names, whose order is that of our file. */
      const theirs = [...(await readStateDict(await bytesAt('study.pth'))).keys()];
      const ours = [...(await readStateDict(await bytesAt('study-our-names.pth'))).keys()];
      const named = (gradients: ReadonlyMap<string, { shape: readonly number[]; data: Float32Array }>) =>
        new Map(ours.flatMap((key, at) => (gradients.has(key) ? [[theirs[at]!, gradients.get(key)!]] : [])));
      for (const forward of [fixture.forward, fixture.trainingForward])
        await expectForward({ ...found, fixture: { forward } }, description.config, weights, named);
    });

    test('the same tensors in every file', async () => {
      const plain = await readStateDict(await bytesAt('study.pth'));
      expect([...plain].map(([key, { shape }]) => [key, shape])).toEqual(Object.entries(fixture.stateDict));
      for (const name of [
        'checkpoint.pth',
        'dataparallel.pth',
        'lightning.ckpt',
        'legacy.pth',
        'half.pth',
        'parameters.pth',
      ]) {
        const dict = await readStateDict(await bytesAt(`study-${name}`), name);
        const statistics = /running_|num_batches/;
        const expected = [...plain.keys()].filter(
          (key) => name !== 'parameters.pth' || !statistics.test(key),
        );
        const holder = name === 'lightning.ckpt' ? 'model.' : '';
        expect([...dict.keys()], name).toEqual(expected.map((key) => holder + key));
        const rounding = name === 'half.pth' ? 2 ** -11 : 0;
        for (const [key, tensor] of dict) {
          const [a, b] = [await tensor.read(), await plain.get(key.slice(holder.length))!.read()];
          const off = a.findIndex(
            (value, at) => Math.abs(value - b[at]!) > rounding * Math.abs(b[at]!) + rounding * 2 ** -14,
          );
          expect(off, `${name}, ${key}`).toBe(-1);
        }
      }
    });

    test('names that say nothing are told with what to do, and so is a whole model', async () => {
      const read = async (name: string) => readModel(await bytesAt(name), name);
      for (const name of ['study.pth', 'study-checkpoint.pth', 'study-lightning.ckpt', 'study-legacy.pth']) {
        await expect(read(name), name).rejects.toThrow(InvalidModel);
        await expect(read(name), name).rejects.toThrow(
          /but "inc\.double_conv\.0\.weight", .*: .* rename its tensors/,
        );
      }
      await expect(read('study-whole-model.pth')).rejects.toThrow(
        /StudyUNet.*torch\.save\(model\.state_dict\(\)/,
      );
    });
  });
