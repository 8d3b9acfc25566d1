/** Model files: damaged bytes, headers and metadata that say something else. */
import type { Random } from '../../src/data/random.ts';
import { completeConfig } from '../../src/model/config.ts';
import { layoutParameters } from '../../src/model/parameters.ts';
import { readModel, writeModel } from '../../src/weights/model-file.ts';
import type { Kind } from './harness.ts';
import { chance, changed, damaged } from './mutate.ts';

const config = completeConfig({ inChannels: 1, classes: 2, features: [4, 8] });
const { parameterWords, statisticsWords } = layoutParameters(config);
const weights = {
  parameters: new Float32Array(parameterWords).fill(0.1),
  statistics: new Float32Array(statisticsWords).fill(1),
};
const good = await Promise.resolve(
  writeModel({ config, labels: ['background', 'bone'], channels: ['T1'], inputSize: [8, 8, 8] }, weights),
);

/** A safetensors file with one thing in its header changed, or in the JSON among its metadata. */
function changedHeader(bytes: Uint8Array, source: Random): Uint8Array<ArrayBuffer> {
  const end = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, end))) as Record<string, unknown>;
  const metadata = { ...(header['__metadata__'] as Record<string, string>) };
  delete metadata['sha256']; // what lies behind the hash is to be tried
  const text = metadata['unet3d-gpu'];
  if (chance(source, 2) && text !== undefined)
    metadata['unet3d-gpu'] = JSON.stringify(changed(JSON.parse(text), source));
  const whole = { ...header, __metadata__: metadata };
  const head = new TextEncoder().encode(JSON.stringify(chance(source, 2) ? whole : changed(whole, source)));
  const file = new Uint8Array(8 + head.length + bytes.length - end);
  new DataView(file.buffer).setBigUint64(0, BigInt(head.length), true);
  file.set(head, 8);
  file.set(bytes.subarray(end), 8 + head.length);
  return file;
}

export const models: Kind = {
  name: 'models',
  async read(source) {
    const file = chance(source, 3) ? damaged(good, source) : changedHeader(good, source);
    const read = await Promise.resolve(readModel(file));
    return read.weights.parameters.byteLength;
  },
};
