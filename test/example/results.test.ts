/** Everything that was segmented as one archive: its table names the files that are in it. */
import { expect, test } from 'vitest';
import { archived, volumesCsv } from '../../examples/browser/src/results.ts';
import type { Result } from '../../examples/browser/src/state.ts';

test('labels of one name are numbered, in the archive and in its table', () => {
  const result = (name: string, modelName: string) => ({
    ...{ name: `${name}.nii.gz`, modelName, labels: new File([], `${name}_labels.nii.gz`) },
    volumes: [{ name: 'liver', labels: [1, 2], millilitres: 3.5 }],
  });
  const results = [result('ct', 'a'), result('mr', 'a'), result('ct', 'b')] as unknown as Result[];
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
