/** Everything that was segmented as one archive: its table names the files that are in it. */
import { expect, test } from 'vitest';
import { modelFileName } from '../../examples/browser/src/dom.ts';
import { archived, modelNames, volumesCsv } from '../../examples/browser/src/results.ts';
import type { Result } from '../../examples/browser/src/state.ts';

const result = (name: string, modelName: string, model = 1) => ({
  ...{ name: `${name}.nii.gz`, modelName, model, labels: new File([], `${name}_labels.nii.gz`) },
  volumes: [{ name: 'liver', labels: [1, 2], millilitres: 3.5 }],
});

test('labels of one name are numbered, in the archive and in its table', () => {
  const results = [result('ct', 'a'), result('mr', 'a'), result('ct', 'b', 2)] as unknown as Result[];
  const all = archived(results);
  const files = ['ct_labels.nii.gz', 'mr_labels.nii.gz', 'ct_labels (2).nii.gz'];
  expect(all.map(({ file }) => file)).toEqual(files);
  expect(volumesCsv(all).trimEnd().split('\n')).toEqual([
    'file,labels,model,value,class,ml',
    `ct.nii.gz,${files[0]},a,1+2,liver,3.5`,
    `mr.nii.gz,${files[1]},a,1+2,liver,3.5`,
    `ct.nii.gz,${files[2]},b,1+2,liver,3.5`,
  ]);
});

test('models of one name are numbered, in the order in which they have found something', () => {
  const results = [
    result('a', 'model.safetensors', 3),
    result('b', 'model.safetensors', 7),
    result('c', 'liver', 9),
    result('d', 'model.safetensors', 3),
  ] as unknown as Result[];
  const nameOf = modelNames(results);
  const names = ['model.safetensors', 'model.safetensors (2)', 'liver', 'model.safetensors'];
  expect(results.map(nameOf)).toEqual(names);
  const lines = volumesCsv(archived(results)).trimEnd().split('\n').slice(1);
  expect(lines.map((line) => line.split(',')[2])).toEqual(names);
});

test('model files are called by their training, or as they were opened', () => {
  expect(modelFileName('liver, 10:45')).toBe('liver_10_45.safetensors');
  expect(modelFileName('model.safetensors')).toBe('model.safetensors');
  expect(modelFileName('liver', '.onnx')).toBe('liver.onnx');
});
