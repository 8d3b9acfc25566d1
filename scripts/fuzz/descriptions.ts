/** The text of dataset.json, of both kinds. */
import { readDescription } from '../../src/data/dataset-json.ts';
import type { Kind } from './harness.ts';
import { chance, mutatedJson, mutatedBytes, pick } from './mutations.ts';

const good = [
  {
    name: 'Hippocampus',
    modality: { '0': 'MRI' },
    labels: { '0': 'background', '1': 'Anterior', '2': 'Posterior' },
    training: [{ image: './imagesTr/a.nii.gz', label: './labelsTr/a.nii.gz' }],
  },
  {
    channel_names: ['T2', 'ADC'],
    labels: { background: 0, zone: 1, ignore: 2 },
    numTraining: 2,
    file_ending: '.nii.gz',
    dataset: { a: { images: ['x/a.nii.gz'], label: 'y/a.nii.gz' } },
  },
];

export const descriptions: Kind = {
  name: 'descriptions',
  read(source) {
    const text = JSON.stringify(mutatedJson(pick(source, good), source));
    const bytes = new TextEncoder().encode(text);
    const read = chance(source, 4) ? new TextDecoder().decode(mutatedBytes(bytes, source)) : text;
    readDescription(read);
    return Promise.resolve(2 * read.length);
  },
};
