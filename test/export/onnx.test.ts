/** Models as ONNX, run by onnxruntime, natively and as WASM: the logits of PyTorch, those of this package, those of nnU-Net and of MONAI. */
import * as web from 'onnxruntime-web/wasm';
import { beforeEach, describe, expect, test } from 'vitest';
import { InvalidModel } from '../../src/errors.ts';
import { assertFitsOnnx, exportOnnx } from '../../src/export/onnx.ts';
import { fromArrays } from '../../src/data/prepare.ts';
import { random } from '../../src/data/random.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { UNet3D } from '../../src/unet3d.ts';
import { readModel } from '../../src/weights/model-file.ts';
import { readSafetensors } from '../../src/weights/safetensors.ts';
import { testDevice } from '../support/device.ts';
import { bytesOf } from '../support/files.ts';
import { interopFolder, monaiFolders, nnunetFixture, nnunetFolders } from '../support/interop.ts';
import {
  apart,
  errorOf,
  imageOf,
  modelBytes,
  modelOfNnunet,
  monaiExample,
  networkNames,
  type Volumes,
} from './networks.ts';
import { readOnnx } from './read-onnx.ts';

type Runtime = Pick<typeof import('onnxruntime-node'), 'InferenceSession' | 'Tensor'>;

web.env.wasm.numThreads = 1;

/** The first is not built for every machine. */
const runtimes: Record<string, Runtime | string> = {
  'onnxruntime-node': await import('onnxruntime-node').catch((error: unknown) => String(error)),
  'onnxruntime-web': web,
};

async function logitsBy(runtime: Runtime, file: Uint8Array, { data, shape }: Volumes): Promise<Float32Array> {
  const session = await runtime.InferenceSession.create(file, { intraOpNumThreads: 1 });
  const { logits } = await session.run({ image: new runtime.Tensor('float32', data, shape) });
  await session.release();
  return logits!.data as Float32Array;
}

describe.each(Object.keys(runtimes))('%s gives', (runtime) => {
  beforeEach(({ skip }) => {
    const found = runtimes[runtime]!;
    if (typeof found === 'string') skip(`there is none: ${found}`);
  });

  const logitsOf = (file: Uint8Array, image: Volumes): Promise<Float32Array> =>
    logitsBy(runtimes[runtime] as Runtime, file, image);
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
      const image = { data: noise.image as Float32Array<ArrayBuffer>, shape: [1, 1, 8, 12, 20] } as const;
      for (const upsampling of upsamplings)
        expect(apart(await logitsOf(await exportOnnx(bytes, { upsampling }), image), logits)).toBeLessThan(
          1e-4,
        );
    },
  );

  test.for(nnunetFolders)('the logits of nnU-Net: %s', async (name, { skip }) => {
    const found = await nnunetFixture(name);
    if (!found) return skip(`${interopFolder} is not there`);
    const { input, outputs } = found.fixture.forward;
    const model = await modelOfNnunet(found.files);
    const image = {
      data: await found.floatsAt(`forward/${input.file}`),
      shape: input.shape as Volumes['shape'],
    };
    const expected = await found.floatsAt(`forward/${outputs[0]!.file}`);
    for (const upsampling of upsamplings) {
      const logits = await logitsOf(await exportOnnx(model, { upsampling }), image);
      expect(apart(logits, expected), upsampling).toBeLessThan(1e-4);
    }
  });

  test.for(monaiFolders)('the logits of MONAI: %s', async (name, { skip }) => {
    const found = await monaiExample(name);
    if (!found) return skip(`${interopFolder} is not there`);
    for (const upsampling of upsamplings) {
      const logits = await logitsOf(await exportOnnx(found.bytes, { upsampling }), found.image);
      expect(apart(logits, found.logits.data), upsampling).toBeLessThan(1e-4);
    }
  });
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
const usual = {
  dilations: '1,1,1',
  group: '1',
  pads: '0,0,0,0,0,0',
  ceil_mode: '0',
  output_padding: '0,0,0',
};

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
