/** Models as ONNX, run by onnxruntime: the logits of PyTorch, those of this package, those of nnU-Net and of MONAI. */
import { beforeEach, describe, expect, test } from 'vitest';
import { InvalidModel } from '../../src/errors.ts';
import { assertFitsOnnx, exportOnnx } from '../../src/export/onnx.ts';
import { fromArrays } from '../../src/data/prepare.ts';
import { random } from '../../src/data/random.ts';
import { convertMonai } from '../../src/interop/monai/convert.ts';
import { openMonai } from '../../src/interop/monai/open.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { UNet3D } from '../../src/unet3d.ts';
import { readModel } from '../../src/weights/model-file.ts';
import { readSafetensors } from '../../src/weights/safetensors.ts';
import { testDevice } from '../support/device.ts';
import { bytesOf } from '../support/files.ts';
import {
  interopFixture,
  interopFolder,
  nnunetFixture,
  nnunetFolders,
  type InteropFixture,
  type StoredArray,
} from '../support/interop.ts';
import { turned } from '../support/network.ts';
import { errorOf, imageOf, modelBytes, modelOfNnunet, networkNames, type Volumes } from './networks.ts';
import { readOnnx } from './read-onnx.ts';

/** Not built for every machine. */
const runtime = await import('onnxruntime-node').catch((error: unknown) => String(error));

async function logitsOf(file: Uint8Array, { data, shape }: Volumes): Promise<Float32Array> {
  if (typeof runtime === 'string') throw new Error(runtime);
  const session = await runtime.InferenceSession.create(file, { intraOpNumThreads: 1 });
  const { logits } = await session.run({ image: new runtime.Tensor('float32', data, shape) });
  await session.release();
  return logits!.data as Float32Array;
}

const largest = (values: Float32Array): number =>
  values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

/** The largest difference as a share of the largest value that is expected. */
function apart(found: Float32Array, expected: Float32Array): number {
  expect(found.length).toBe(expected.length);
  return largest(found.map((value, index) => value - expected[index]!)) / largest(expected);
}

describe('onnxruntime gives', () => {
  beforeEach(({ skip }) => {
    if (typeof runtime === 'string') skip(`there is no onnxruntime: ${runtime}`);
  });

  const upsamplings = ['transposed', 'shuffled'] as const;
  const cases = networkNames.flatMap((name) => upsamplings.map((upsampling) => ({ name, upsampling })));

  test.each(cases)('the logits of PyTorch: $name, $upsampling', async ({ name, upsampling }) => {
    const file = await exportOnnx(await modelBytes(name), { upsampling });
    expect(errorOf(name, await logitsOf(file, imageOf(name)))).toBeLessThan(1e-5);
    const operators = readOnnx(file).nodes.map(({ operator }) => operator);
    expect(operators.includes('ConvTranspose')).toBe(upsampling === 'transposed');
  });

  test.each(['batch', 'residual'] as const)(
    'the logits of this package at another size: %s',
    async (name) => {
      const bytes = await modelBytes(name);
      const source = random(1, name);
      const data = Float32Array.from({ length: 20 * 12 * 8 }, () => source.normal(0, 1));
      const noise = fromArrays('noise', { data, dims: [20, 12, 8] });
      const { device } = await testDevice();
      const model = await UNet3D.load(bytes, { device });
      const logits = await model.logits(noise);
      model.dispose();
      const found = await logitsOf(await exportOnnx(bytes), {
        data: noise.image as Float32Array<ArrayBuffer>,
        shape: [1, 1, 8, 12, 20],
      });
      expect(apart(found, logits)).toBeLessThan(1e-4);
    },
  );

  test.for(nnunetFolders)('the logits of nnU-Net: %s', async (name, { skip }) => {
    const found = await nnunetFixture(name);
    if (!found) return skip(`${interopFolder} is not there`);
    const { input, outputs } = found.fixture.forward;
    const file = await exportOnnx(await modelOfNnunet(found.files));
    const image = {
      data: await found.floatsAt(`forward/${input.file}`),
      shape: input.shape as Volumes['shape'],
    };
    const expected = await found.floatsAt(`forward/${outputs[0]!.file}`);
    expect(apart(await logitsOf(file, image), expected)).toBeLessThan(1e-4);
  });

  test.for(['unet-res2', 'dynunet', 'dynunet-res', 'basicunet', 'segresnet'])(
    'the logits of MONAI: %s',
    async (name, { skip }) => {
      const found = await interopFixture<InteropFixture & { network: unknown; files: string[] }>(
        `monai-${name}`,
      );
      if (!found) return skip(`${interopFolder} is not there`);
      const { fixture, floatsAt, bytesAt } = found;
      const volumesAt = async (array: StoredArray): Promise<Volumes> => {
        const { shape, data } = turned({
          shape: array.shape as Volumes['shape'],
          data: Float64Array.from(await floatsAt(`forward/${array.file}`)),
        });
        return { shape, data: Float32Array.from(data) };
      };
      const definition = new TextEncoder().encode(JSON.stringify(fixture.network));
      const model = await openMonai([
        { path: 'network.json', source: definition },
        { path: fixture.files[0]!, source: await bytesAt(fixture.files[0]!) },
      ]);
      const file = await exportOnnx(await convertMonai(model));
      const logits = await logitsOf(file, await volumesAt(fixture.forward.input));
      expect(apart(logits, (await volumesAt(fixture.forward.outputs[0]!)).data)).toBeLessThan(1e-4);
    },
  );
});

/** What torch.onnx.export of nnU-Net's and MONAI's networks gives; see the README there. */
interface Exported {
  models: Record<
    string,
    { opset: number; ops: Record<string, number>; attributes: Record<string, string[]> }
  >;
}

const exported = nnunetFolders.filter((name) => name !== 'totalsegmentator');

/** What the format takes where nothing is said. */
const usual = { dilations: '1,1,1', group: '1', pads: '0,0,0,0,0,0', ceil_mode: '0' };

const spelled = (attributes: Readonly<Record<string, string>>): string =>
  Object.entries({ ...usual, ...attributes })
    .map(([key, values]) => `${key}=${values.split(',').map(Number).join()}`)
    .sort()
    .join(' ');

/** Of a line such as `group=1, pads=[0, 0, 0]`. */
const attributesIn = (line: string): Record<string, string> =>
  Object.fromEntries(
    [...line.matchAll(/(\w+)=(\[[^\]]*\]|[^,]+)/g)].map(([, key, value]) => [
      key!,
      value!.replace(/[[\]]/g, ''),
    ]),
  );

test.for(exported)('the operators of PyTorch’s own export: nnunet-%s', async (name, { skip }) => {
  const found = await nnunetFixture(name);
  const json = await bytesOf(`${interopFolder}/onnx/fixture.json`);
  if (!found || !json) return skip(`${interopFolder} is not there`);
  const { models } = JSON.parse(new TextDecoder().decode(json)) as Exported;
  const expected = models[`nnunet-${name}`]!;
  const { irVersion, operators, nodes } = readOnnx(await exportOnnx(await modelOfNnunet(found.files)));
  expect([irVersion, operators]).toEqual([8, expected.opset]);
  // In front of an average pool, PyTorch writes a padding by nothing.
  const kinds = Object.keys(expected.ops).filter((kind) => kind !== 'Pad' && kind !== 'Constant');
  expect(nodes.filter(({ operator }) => !kinds.includes(operator))).toEqual([]);
  for (const kind of kinds) {
    const ours = nodes.filter(({ operator }) => operator === kind);
    expect(ours.length, kind).toBe(expected.ops[kind]);
    const theirs = expected.attributes[kind]!.map((line) => spelled(attributesIn(line)));
    expect(new Set(ours.map(({ attributes }) => spelled(attributes))), kind).toEqual(new Set(theirs));
  }
});

test('what is needed around the network is in the metadata', async () => {
  const bytes = await modelBytes('residual');
  const { metadata, initializers } = readOnnx(await exportOnnx(bytes));
  const { description } = await readModel(bytes);
  expect(JSON.parse(metadata['unet3d-gpu']!)).toEqual({ ...description });
  expect(metadata['unet3d-gpu.sizeMultiple']).toBe('[4,4,2]');
  // Only the finest head is written, and nothing that it does not read.
  const names = [...readSafetensors(bytes).tensors.keys()].filter((name) => name !== 'decoder.1.head');
  expect([...initializers.keys()].sort()).toEqual(names.filter((name) => !/\.1\.head\./.test(name)).sort());
});

test('weights beyond 2 GiB are refused before they are read', () => {
  const config = completeConfig({ inChannels: 1, classes: 2, features: [32, 4096, 4096], norm: 'instance' });
  expect(() => assertFitsOnnx(config)).toThrow(InvalidModel);
  expect(() => assertFitsOnnx(config)).toThrow(/take \d+\.\d GiB, and an ONNX file holds less than 2 GiB/);
});
