/** What of some files is a model, and whether a training can begin with it. */
import { expect, test } from 'vitest';
import { KeptModel } from '../../examples/browser/src/kept-model.ts';
import { foreignAmong } from '../../examples/browser/src/model-source.ts';

test('what a cross-validation chose comes with its folds', () => {
  const entries = (...paths: string[]) => paths.map((path) => ({ path, source: new Uint8Array() }));
  const folds = ['cv/fold_0/model.safetensors', 'cv/fold_1/model.safetensors', 'cv/ensemble.json'];
  expect(foreignAmong(entries(...folds, 'cv/report.html'))).toEqual(entries(...folds));
  expect(foreignAmong(entries('model.safetensors', 'config.json'))).toBeUndefined();
});

test('no training begins with the weights of one that prepares volumes by nnU-Net’s rules', () => {
  const of = (description: object) =>
    KeptModel.of({ config: {}, description } as Parameters<typeof KeptModel.of>[0], () =>
      Promise.resolve(new Uint8Array()),
    );
  expect(of({ nnunet: {} }).start).toMatch(/follows nnU-Net’s rules.*open its model folder or zip archive/);
  expect(of({ preprocessing: 'p' }).start).toEqual({ config: {}, preprocessing: 'p' });
});
