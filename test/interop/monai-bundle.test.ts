/** MONAI's bundles: a case from file to labels as MONAI computes them, and configurations that are read as data. */
import { describe, expect, test, vi } from 'vitest';
import type { FileEntry } from '../../src/data/case.ts';
import { readNifti } from '../../src/data/nifti.ts';
import { InvalidModel, OutOfMemory } from '../../src/errors.ts';
import { Inference } from '../../src/infer/inference.ts';
import { weightsOf as flatWeights } from '../../src/interop/mapping.ts';
import { convertMonai } from '../../src/interop/monai/convert.ts';
import { BundleConfig } from '../../src/interop/monai/config.ts';
import { openMonai, type MonaiModel } from '../../src/interop/monai/open.ts';
import { MonaiPredictor } from '../../src/interop/monai/predictor.ts';
import { readPipeline, type Transform } from '../../src/interop/monai/pipeline.ts';
import { segmentAsBundle } from '../../src/interop/monai/segment.ts';
import { transformed } from '../../src/interop/monai/transforms.ts';
import { startsAlong, throughWindows, weightsOf } from '../../src/interop/monai/windows.ts';
import { readModel } from '../../src/weights/model-file.ts';
import { ModelState } from '../../src/model/state.ts';
import { storedArchive } from '../../src/weights/pytorch/write-archive.ts';
import { testDevice } from '../support/device.ts';
import { interopFixture, interopFolder, type InteropFixture } from '../support/interop.ts';
import { turned } from '../support/network.ts';
import type { Dense } from '../support/run.ts';

interface BundleFixture extends InteropFixture {
  readonly endToEnd: {
    readonly image: string;
    readonly preprocessed: {
      readonly file: string;
      readonly shape: readonly number[];
      readonly affine: number[][];
    };
    readonly logits: { readonly file: string; readonly shape: readonly number[] };
    readonly segmentation: { readonly file: string };
    readonly bundle: readonly string[];
  };
}

const largestDifference = (found: ArrayLike<number>, expected: ArrayLike<number>): number => {
  expect(found.length).toBe(expected.length);
  return Array.from(expected).reduce((most, value, at) => Math.max(most, Math.abs(found[at]! - value)), 0);
};

test('a bundle segments a case as MONAI does', async ({ skip }) => {
  const found = await interopFixture<BundleFixture>('monai-unet-res2');
  if (!found) return skip(`${interopFolder} is not there`);
  const { bytesAt, floatsAt, fixture } = found;
  const { endToEnd } = fixture;
  const files: FileEntry[] = [];
  for (const path of endToEnd.bundle) files.push({ path, source: await bytesAt(path) });
  const opened = await openMonai(files);
  const { network, weights, labels, channels, pipeline } = opened;
  expect([labels, channels]).toEqual([['background', 'structure 1'], ['image']]);
  const entries = files.map(({ path, source }) => [path, source as Uint8Array] as const);
  const archive = storedArchive(
    [...entries, ['bundle/LICENSE', new Uint8Array(4)]],
    () => new Error('large'),
  );
  const zipped = await openMonai(archive);
  const namesOf = (model: MonaiModel) => ({ ...model, weights: [...model.weights.keys()] });
  expect(namesOf(zipped)).toEqual(namesOf(opened));
  const { description } = await readModel(await convertMonai(opened));
  expect(description).toMatchObject({ config: network.config, labels, channels });
  // Of a threshold of its own for each channel, each finds a region.
  const apart = { ...opened, labels: ['core', 'whole'], pipeline: { ...pipeline!, threshold: 0.5 } };
  expect((await readModel(await convertMonai(apart))).description.regions).toEqual([
    { name: 'core', labels: [1], written: 1 },
    { name: 'whole', labels: [2], written: 2 },
  ]);
  const gpu = await testDevice();
  const state = new ModelState(gpu, network.config);
  state.writeWeights(await flatWeights(network.config, weights));
  const inference = new Inference(state, 2 ** 32);
  try {
    const run = (image: Float32Array, shape: readonly [number, number, number]) =>
      inference.logits({ image, shape }, { inputSize: shape });
    const source = await readNifti(await bytesAt(endToEnd.image));
    const result = await segmentAsBundle(
      source,
      pipeline!,
      { ...network.config, run },
      { probabilities: true },
    );
    const stored = async ({ file, shape: [c, x, y, z] }: typeof endToEnd.logits) => {
      const data = Float64Array.from(await floatsAt(file));
      return turned({ shape: [1, c!, x!, y!, z!], data } satisfies Dense).data;
    };
    const { shape, affine } = endToEnd.preprocessed;
    expect(result.image.shape).toEqual(shape.slice(1));
    expect(largestDifference(result.image.affine, affine.flat())).toBeLessThan(1e-5);
    expect(largestDifference(result.image.data, await stored(endToEnd.preprocessed))).toBeLessThan(1e-4);
    const logits = await stored(endToEnd.logits);
    const tolerance = 1e-3 * Math.max(1, ...logits.map(Math.abs));
    expect(largestDifference(result.logits!, logits)).toBeLessThan(tolerance);
    const { data } = await readNifti(await bytesAt(endToEnd.segmentation.file));
    expect([...result.labels]).toEqual([...data]);
    using predictor = await MonaiPredictor.of(opened, { device: gpu.device });
    const file = await bytesAt(endToEnd.image);
    // nibabel, by which MONAI reads, takes the affine as it is written, whatever the unit.
    const unpacked = new Blob([file]).stream().pipeThrough(new DecompressionStream('gzip'));
    const micrometres = new Uint8Array(await new Response(unpacked).arrayBuffer());
    micrometres[123] = 3;
    const [one, two] = await Promise.all([
      predictor.predict(file, { probabilities: true }),
      predictor.predict(micrometres),
    ]);
    for (const { labels } of [one, two]) expect([...labels.data]).toEqual([...data]);
    expect(one.probabilities!.data).toEqual(result.probabilities);
    await expect(predictor.predict([file, file])).rejects.toThrow('the image has 2 channel(s)');
    // Plane by plane the labels are those of all logits there at once, which `result` is made of.
    const planewise = await segmentAsBundle(source, pipeline!, { ...network.config, run });
    expect([planewise.logits, planewise.labels]).toEqual([undefined, result.labels]);
    // In less memory than the bundle's window takes nothing is segmented: through smaller ones labels would be others.
    const { peakBytes } = inference.plan(pipeline!.windows.size!, 'logits').plan;
    const within = (memoryBudget: number, model = opened) =>
      MonaiPredictor.of(model, { device: gpu.device, memoryBudget });
    const tight = within(peakBytes - 1);
    await expect(tight).rejects.toThrow(OutOfMemory);
    await expect(tight).rejects.toThrow(/which this bundle takes at once, needs .* raise it .*--memory/);
    using enough = await within(peakBytes);
    expect((await enough.predict(file)).labels.data).toEqual(two.labels.data);
    const windows = { overlap: 0, mode: 'constant', sigma: 1 } as const;
    using atOnce = await within(2 ** 16, { ...opened, pipeline: { ...pipeline!, windows } });
    await expect(atOnce.predict(file)).rejects.toThrow(/which this bundle takes at once, needs/);
    // Weights that cannot be read leave nothing on the device of the caller.
    const destroyed = vi.spyOn(GPUBuffer.prototype, 'destroy');
    const created = vi.spyOn(gpu.device, 'createBuffer');
    const unread = { read: () => Promise.reject(new InvalidModel('unread')) };
    const last = [...weights].at(-1)!;
    const broken = new Map(weights).set(last[0], { ...last[1], ...unread });
    await expect(MonaiPredictor.of({ ...opened, weights: broken }, { device: gpu.device })).rejects.toThrow(
      'unread',
    );
    expect(created).toHaveBeenCalled();
    for (const { value } of created.mock.results) expect(destroyed.mock.contexts).toContain(value);
    vi.restoreAllMocks();
  } finally {
    inference.release();
    state.dispose();
  }
});

const preprocessing = (...transforms: unknown[]) => ({ _target_: 'Compose', transforms });
const inferer = { _target_: 'SlidingWindowInferer', roi_size: [8, 8, 8] };
const readBundle = (config: BundleConfig) => readPipeline(config, 3);
const configOf = (values: object) => new BundleConfig(JSON.stringify(values), 'inference.json');

describe('configurations', () => {
  test('references are followed, what changes no voxel is left aside', () => {
    const config = configOf({
      key: 'image',
      sizes: { roi: [16, 8, 8] },
      preprocessing: preprocessing(
        { _target_: 'monai.transforms.LoadImaged', keys: '@key' },
        { _target_: 'Orientationd', keys: '@key', axcodes: 'RAS' },
        {
          _target_: 'ScaleIntensityRanged',
          keys: '@key',
          a_min: -57,
          a_max: 164,
          b_min: 0,
          b_max: 1,
          clip: true,
        },
        { _target_: 'RandFlipd', keys: '@key', _disabled_: true },
      ),
      inferer: {
        ...inferer,
        roi_size: '@sizes#roi',
        overlap: 0.5,
        mode: 'gaussian',
        device: '$torch.device("cpu")',
      },
    });
    expect(readBundle(config)).toEqual({
      transforms: [{ kind: 'orientation' }, { kind: 'range', from: [-57, 164], to: [0, 1], clip: true }],
      windows: { size: [16, 8, 8], overlap: 0.5, mode: 'gaussian', sigma: 0.125 },
    });
  });

  test('of a bundle for the whole body: scaled to a range, the image’s edge around it', () => {
    const config = configOf({
      preprocessing: preprocessing(
        { _target_: 'NormalizeIntensityd', keys: 'image', nonzero: true },
        { _target_: 'ScaleIntensityd', keys: 'image', minv: -1.0, maxv: 1.0 },
        { _target_: 'ScaleIntensityd', keys: 'image' },
      ),
      inferer: { ...inferer, roi_size: [96, 96, 96], padding_mode: 'replicate' },
    });
    expect(readBundle(config)).toEqual({
      transforms: [
        { kind: 'normalize', nonzero: true, channelWise: false },
        { kind: 'scale', to: [-1, 1], channelWise: false },
        { kind: 'scale', to: [0, 1], channelWise: false },
      ],
      windows: { size: [96, 96, 96], overlap: 0.25, mode: 'constant', sigma: 0.125, padding: 'replicate' },
    });
  });

  test.each([[[{ _target_: 'Activationsd', softmax: true }]], [[]]])(
    'labels that are brought back from the nearest voxels, after %j',
    (first) => {
      const postprocessing = (nearest: boolean) =>
        preprocessing(
          ...first,
          { _target_: 'AsDiscreted', argmax: true },
          { _target_: 'Invertd', nearest_interp: nearest },
          { _target_: 'SaveImaged' },
        );
      const read = (nearest: boolean) =>
        readBundle(
          configOf({ preprocessing: preprocessing(), inferer, postprocessing: postprocessing(nearest) }),
        );
      expect(read(true).back).toBe('labels');
      expect(() => read(false)).toThrow(/postprocessing is .*AsDiscrete, Invert; expected/);
    },
  );

  const spacing = { _target_: 'Spacingd', pixdim: [1, 1, 1] };
  test.each<[string, object]>([
    [
      'pixdim of Spacingd is the Python expression "$[1, 1, 1]", which is not evaluated; write its value out',
      { preprocessing: preprocessing({ ...spacing, pixdim: '$[1, 1, 1]' }), inferer },
    ],
    ['preprocessing is the Python expression "$f()"', { preprocessing: '$f()', inferer }],
    [
      'preprocessing has "RandFlipd"; expected',
      { preprocessing: preprocessing({ _target_: 'RandFlipd' }), inferer },
    ],
    [
      'of Spacingd, mode is "nearest"',
      { preprocessing: preprocessing({ ...spacing, mode: 'nearest' }), inferer },
    ],
    ['there is nothing that "@none" refers to', { preprocessing: '@none', inferer }],
    [
      'its references lead to more than 100000 values',
      {
        preprocessing: '@a0',
        ...Object.fromEntries(Array.from({ length: 25 }, (_, n) => [`a${n}`, [`@a${n + 1}`, `@a${n + 1}`]])),
        a25: 1,
        inferer,
      },
    ],
    ['its references go round in a circle', { preprocessing: '@a', a: '@b', b: '@a', inferer }],
    [
      'the inferer is "SliceInferer"; expected SlidingWindowInferer',
      { preprocessing: preprocessing(), inferer: { _target_: 'SliceInferer' } },
    ],
    [
      'postprocessing is Activationsd, AsDiscreted; expected'.replaceAll('d,', ',').replace('d;', ';'),
      {
        preprocessing: preprocessing(),
        inferer,
        postprocessing: preprocessing(
          { _target_: 'Activationsd', softmax: true },
          { _target_: 'AsDiscreted' },
        ),
      },
    ],
  ])('refused: %s', (problem, values) => {
    const read = () => readBundle(configOf(values));
    expect(read).toThrow(InvalidModel);
    expect(read).toThrow(`inference.json cannot be followed: ${problem}`);
  });

  const spoken = (...transforms: object[]) =>
    readBundle(
      configOf({ preprocessing: preprocessing(), inferer, postprocessing: preprocessing(...transforms) }),
    );
  const sigmoid = { _target_: 'Activationsd', keys: 'pred', sigmoid: true };
  const threshold = { _target_: 'AsDiscreted', keys: 'pred', threshold: 0.5 };
  const argmax = { _target_: 'AsDiscreted', keys: 'pred', argmax: true };
  const invert = (nearest: boolean) => ({ _target_: 'Invertd', keys: 'pred', nearest_interp: nearest });
  const largest = { _target_: 'KeepLargestConnectedComponentd', keys: 'pred' };

  test('channels that may overlap, and components that stay', () => {
    expect(spoken(sigmoid, invert(false), threshold)).toMatchObject({ threshold: 0.5 });
    expect(spoken(sigmoid, threshold, invert(true), { _target_: 'SaveImaged' })).toMatchObject({
      back: 'labels',
      threshold: 0.5,
    });
    const given = {
      ...largest,
      applied_labels: [1, 2],
      independent: false,
      connectivity: 2,
      is_onehot: false,
    };
    const softmax = { _target_: 'Activationsd', softmax: true };
    expect(spoken(softmax, invert(false), argmax, given).components).toEqual([
      { grid: 'image', labels: [1, 2], independent: false, hops: 2, count: 1 },
    ]);
    expect(
      spoken(sigmoid, threshold, { ...largest, applied_labels: 2, num_components: 3 }, invert(true), largest)
        .components,
    ).toEqual([
      { grid: 'network', labels: [2], independent: true, hops: 3, count: 3 },
      { grid: 'image', independent: true, hops: 3, count: 1 },
    ]);
  });

  test.each<[string, object[]]>([
    ['expected Activations with softmax', [sigmoid, invert(false), argmax]],
    ['expected Activations with softmax', [invert(false), threshold]],
    ['expected Activations with softmax', [sigmoid, invert(true), threshold]],
    ['expected Activations with softmax', [sigmoid, largest, invert(false), threshold]],
    ['of AsDiscreted, to_onehot is 3', [sigmoid, invert(false), { ...threshold, to_onehot: 3 }]],
    ['of Activationsd, other is', [{ ...sigmoid, other: 'tanh' }, invert(false), threshold]],
    [
      'threshold of AsDiscreted is the Python expression',
      [sigmoid, invert(false), { ...threshold, threshold: '$0.5' }],
    ],
    [
      'of KeepLargestConnectedComponentd, is_onehot is false where there are 3 channels; expected true',
      [sigmoid, invert(false), threshold, { ...largest, is_onehot: false }],
    ],
    [
      'of KeepLargestConnectedComponentd, applied_labels has 3; expected channels from 0 to 2',
      [sigmoid, invert(false), threshold, { ...largest, applied_labels: [1, 3] }],
    ],
    [
      'connectivity is 4; expected 1, 2 or 3',
      [sigmoid, invert(false), threshold, { ...largest, connectivity: 4 }],
    ],
  ])('of what comes behind the network, refused: %s', (problem, transforms) => {
    expect(() => spoken(...transforms)).toThrow(InvalidModel);
    expect(() => spoken(...transforms)).toThrow(problem);
  });

  test('one channel alone, of which nothing says where it is there', () => {
    const read = (classes: number) =>
      readPipeline(configOf({ preprocessing: preprocessing(), inferer }), classes);
    expect(() => read(1)).toThrow(InvalidModel);
    expect(() => read(1)).toThrow(
      /there is no postprocessing, .* one channel alone: add Activations with sigmoid/,
    );
    expect(read(2).threshold).toBeUndefined();
  });

  test('half a bundle is refused', async () => {
    const file = (path: string, value: unknown): FileEntry => ({
      path,
      source: new TextEncoder().encode(JSON.stringify(value)),
    });
    const metadata = file('spleen/configs/metadata.json', {});
    await expect(openMonai([metadata])).rejects.toThrow(
      'neither spleen/configs/inference.json nor train.json has a network_def',
    );
    const network_def = { _target_: 'UNet', in_channels: 1, out_channels: 2, channels: [4, 8], strides: [2] };
    await expect(openMonai([metadata, file('spleen/configs/train.json', { network_def })])).rejects.toThrow(
      'the bundle has no spleen/models/model.pt; give it whole',
    );
    await expect(openMonai([])).rejects.toThrow('there is no state dict; give a bundle of MONAI');
  });
});

describe('transforms', () => {
  const affine = [2, 0, 0, -5, 0, 2, 0, 7, 0, 0, 2, 1, 0, 0, 0, 1];
  const image = { data: Float32Array.from([0, 1, 2, 5]), shape: [4, 1, 1], affine };
  const apply = (...transforms: Transform[]) => transformed(image, transforms);

  test('half the spacing: the first voxel stays, linear between, and back again', () => {
    const { image: made, back } = apply({ kind: 'spacing', spacing: [1, 2, 2] });
    expect(made.shape).toEqual([7, 1, 1]);
    expect([...made.data]).toEqual([0, 0.5, 1, 1.5, 2, 3.5, 5]);
    expect(made.affine).toEqual([1, ...affine.slice(1)]);
    expect([...back[0]!(made.data)]).toEqual([0, 1, 2, 5]);
  });

  test('labels come back from the nearest voxel, of two as near from the even one', async () => {
    // Four voxels of 2 mm lie on voxels 0, 2/3, 4/3, 2 of 3 mm, and on 0, 1/2, 1, 3/2 of 4 mm.
    for (const [millimetres, labels, expected] of [
      [3, [1, 0, 2], [1, 0, 0, 2]],
      [4, [1, 2], [1, 1, 2, 2]],
    ] as const) {
      const windows = { overlap: 0, mode: 'constant', sigma: 1 } as const;
      const transforms: Transform[] = [{ kind: 'spacing', spacing: [millimetres, 2, 2] }];
      const run = () =>
        Promise.resolve(Float32Array.from([0, 1, 2].flatMap((c) => labels.map((l) => (l === c ? 1 : 0)))));
      const network = { inChannels: 1, classes: 3, run };
      // At once, and plane by plane through a window.
      for (const size of [undefined, [labels.length, 1, 1] as const]) {
        const pipeline = { transforms, windows: { ...windows, size }, back: 'labels' } as const;
        const found = await segmentAsBundle(image, pipeline, network);
        expect([...found.labels]).toEqual([...expected]);
      }
    }
  });

  test('labels made plane by plane are those of all probabilities there at once', async () => {
    const shape = [7, 5, 6];
    const axes = [0, -1.5, 0, 3, 1, 0, 0, 2, 0, 0, -2, 1, 0, 0, 0, 1];
    const source = { data: Float32Array.from({ length: 210 }, (_, i) => Math.sin(i)), shape, affine: axes };
    const run = (part: Float32Array) =>
      Promise.resolve(
        Float32Array.from(
          { length: 5 * part.length },
          (_, i) => 2 * Math.sin(i * i) + part[i % part.length]! * Math.cos(i),
        ),
      );
    const windows = { size: [4, 4, 4], overlap: 0.5, mode: 'gaussian', sigma: 0.125 } as const;
    const turn: Transform = { kind: 'orientation' };
    const closer: Transform = { kind: 'spacing', spacing: [0.8, 1.2, 1.4] };
    const wider: Transform = { kind: 'spacing', spacing: [2, 1.7, 5] };
    for (const [transforms, isWhole] of [
      [[], false],
      [[turn], false],
      [[turn, closer], false],
      [[turn, wider], false],
      // Here probabilities are turned before they are resampled.
      [[wider, turn], true],
    ] as const)
      for (const threshold of [undefined, 0.4]) {
        const pipeline = { transforms, windows, ...(threshold !== undefined && { threshold }) };
        const network = { inChannels: 1, classes: 5, run };
        const whole = await segmentAsBundle(source, pipeline, network, { probabilities: true });
        const planes = await segmentAsBundle(source, pipeline, network);
        expect(planes.labels).toEqual(whole.labels);
        expect(new Set(planes.labels).size).toBe(threshold === undefined ? 5 : 2);
        expect(planes.logits !== undefined).toBe(isWhole);
      }
  });

  test('a spacing that asks for more voxels than any machine holds', () => {
    expect(() => apply({ kind: 'spacing', spacing: [1e-12, 2, 2] })).toThrow(OutOfMemory);
  });

  test('intensities: of what is not 0, and of a range', () => {
    const normal = apply({ kind: 'normalize', nonzero: true, channelWise: true }).image.data;
    const deviation = Math.sqrt(((1 - 8 / 3) ** 2 + (2 - 8 / 3) ** 2 + (5 - 8 / 3) ** 2) / 3);
    expect(normal[0]).toBe(0);
    expect(
      largestDifference(
        normal.slice(1),
        [1, 2, 5].map((v) => (v - 8 / 3) / deviation),
      ),
    ).toBeLessThan(1e-6);
    const range = { kind: 'range', from: [0, 4], to: [-1, 1], clip: true } as const;
    expect([...apply(range).image.data]).toEqual([-1, -0.5, 0, 1]);
    const scale = { kind: 'scale', to: [-1, 1], channelWise: false } as const;
    expect([...apply(scale).image.data]).toEqual([-1, -0.6, -0.2, 1].map(Math.fround));
    const two = { ...image, data: Float32Array.from([0, 1, 2, 4, 3, 3, 3, 3]) };
    const each = (channelWise: boolean) => [
      ...transformed(two, [{ kind: 'scale', to: [2, 6], channelWise }]).image.data,
    ];
    expect(each(false)).toEqual([2, 3, 4, 6, 5, 5, 5, 5]);
    expect(each(true)).toEqual([2, 3, 4, 6, 6, 6, 6, 6]); // one value alone: times the least wanted
  });
});

test('windows: regular starts, the last moved back; the mean of what they say; zeros on both sides of a small image', async () => {
  expect(startsAlong(23, 16, 0.5)).toEqual([0, 7]);
  expect(startsAlong(40, 16, 0.25)).toEqual([0, 12, 24]);
  expect(startsAlong(16, 16, 0.5)).toEqual([0]);
  expect(startsAlong(9, 16, 0.5)).toEqual([0]);
  const weights = weightsOf([8, 8, 1], { mode: 'gaussian', sigma: 0.125 });
  expect(weights[3 * 8 + 4]).toBeCloseTo(Math.exp(-0.25), 6);
  expect(Math.min(...weights)).toBe(Math.fround(1e-3));
  const seen: number[][] = [];
  const identity = (part: Float32Array) => {
    seen.push([...part]);
    return Promise.resolve(part);
  };
  const windows = { size: [4, 1, 1], overlap: 0.5, mode: 'gaussian', sigma: 0.125 } as const;
  const whole = await throughWindows(Float32Array.from([1, 2, 3, 4, 5, 6, 7]), [7, 1, 1], windows, identity);
  expect(seen).toHaveLength(3);
  expect(largestDifference(whole, [1, 2, 3, 4, 5, 6, 7])).toBeLessThan(1e-5);
  seen.length = 0;
  expect([...(await throughWindows(Float32Array.from([5]), [1, 1, 1], windows, identity))]).toEqual([5]);
  expect(seen).toEqual([[0, 5, 0, 0]]);
});

test('a window larger than the image sees its edge go on, where the bundle says so', async () => {
  const seen: Float32Array[] = [];
  const identity = (part: Float32Array) => {
    seen.push(part.slice());
    return Promise.resolve(part);
  };
  const windows = {
    size: [6, 3, 1],
    overlap: 0.5,
    mode: 'constant',
    sigma: 0.125,
    padding: 'replicate',
  } as const;
  const image = Float32Array.from([1, 2, 3, 4, 5, 6]);
  expect([...(await throughWindows(image, [3, 2, 1], windows, identity))]).toEqual([...image]);
  // As numpy.pad with mode "edge": one voxel before and two behind along x, none before and one behind along y.
  expect(seen.map((part) => [...part])).toEqual([[1, 1, 2, 3, 3, 3, 4, 4, 5, 6, 6, 6, 4, 4, 5, 6, 6, 6]]);
});
