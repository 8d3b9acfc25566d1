/** JSON schemas of the files that this package reads, made from what it checks them with. `tsx scripts/schemas.ts` writes docs/schemas/. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { toJsonSchema } from '@valibot/to-json-schema';
import { descriptionSchema as datasetSchema } from '../src/data/dataset-json.ts';
import { splitSchema } from '../src/data/split.ts';
import { choicesSchema } from '../src/gpu/choices.ts';
import { cacheSchema } from '../src/model/tuning-cache.ts';
import { reportSchema } from '../src/self-test/report.ts';
import { progressSchema } from '../src/train/progress.ts';
import { descriptionSchema } from '../src/weights/model-file.ts';

export const folder = fileURLToPath(new URL('../docs/schemas/', import.meta.url));

const schemas = {
  'model.json': ['metadata entry `unet3d-gpu` of model.safetensors', descriptionSchema],
  'progress.json': ['metadata entry `progress` of checkpoint.safetensors', progressSchema],
  'kernels.json': ['metadata entry `kernels` of checkpoint.safetensors', choicesSchema],
  'kernel-cache.json': ['kernels.json in the cache folder', cacheSchema],
  'dataset.json': ['dataset.json of the Medical Segmentation Decathlon or nnU-Net v2', datasetSchema],
  'split.json': ['split.json', splitSchema],
  'self-test.json': ['what `unet3d-gpu info --self-test` prints', reportSchema],
} as const;

/** The text of each file by its name. */
export const schemaFiles = (): [name: string, text: string][] =>
  Object.entries(schemas).map(([name, [title, schema]]) => {
    // Rules between parts, such as names that must differ, have no JSON schema.
    const { $schema, ...rest } = toJsonSchema(schema, { typeMode: 'input', errorMode: 'ignore' });
    return [name, `${JSON.stringify({ $schema, title, ...rest }, null, 2)}\n`];
  });

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await mkdir(folder, { recursive: true });
  for (const [name, text] of schemaFiles()) await writeFile(join(folder, name), text);
}
