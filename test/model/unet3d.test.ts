/** What `UNet3D` refuses: labels outside the classes, misspelt options, what is no file, and work after its end. */
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { casesInMemory, trainingBatches } from '../../src/data/patches.ts';
import type { PreparedCase } from '../../src/data/prepare.ts';
import { DeviceLost, InvalidDataset, InvalidOption, NotFinite } from '../../src/errors.ts';
import { kernelChoices } from '../../src/gpu/choices.ts';
import { OpenNetwork } from '../../src/infer/opened.ts';
import { planEvaluation, planSlabs } from '../../src/model/plan.ts';
import { setTuningStore } from '../../src/model/tuning-cache.ts';
import { lossShape, weightedDice } from '../../src/model/losses.ts';
import { UNet3D, type CreateOptions, type LabelledCase, type TrainingOptions } from '../../src/unet3d.ts';
import { readSafetensors, writeSafetensors } from '../../src/weights/safetensors.ts';
import { alteredDevice, compiling } from '../support/altered-device.ts';
import { testDevice } from '../support/device.ts';
import { box, memory } from '../support/training.ts';

async function create(options: Partial<CreateOptions> = {}): Promise<UNet3D> {
  const { device } = await testDevice();
  return UNet3D.create({ inChannels: 1, classes: 2, features: [2], device, ...options });
}

/** With one voxel of 7 and one of 255. */
function damaged(): PreparedCase {
  const item = box(3);
  const label = item.label!.slice();
  label.set([7, 255], 20);
  return { ...item, id: 'damaged', label };
}

/** In plain JavaScript nobody complains earlier. */
const untyped = <T>(value: unknown): T => value as T;

describe('label values outside the classes', () => {
  test('are refused with the case, the value, the classes and what to do', async () => {
    using model = await create({ labels: ['background', 'box'] });
    const message =
      /^Case "damaged": its label holds values outside the model's classes: 7 \(1 voxels\). Expected 0 to 1 \(0 background, 1 box\), or 255 .*; correct the label/;
    const options = { epochs: 1, batchSize: 1 };
    for (const refused of [
      model.fit([box(1), damaged()], options),
      model.fit([box(1)], { ...options, validation: [damaged()] }),
      model.evaluate([damaged()]),
      model.choosePostprocessing([damaged()]),
    ]) {
      const error: unknown = await Promise.resolve(refused).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(InvalidDataset);
      expect((error as Error).message).toMatch(message);
    }
  });

  test('are refused in batches of the caller as well, once these come', async () => {
    using model = await create();
    const batches = trainingBatches(casesInMemory([damaged()]), { batchSize: 1 });
    await expect(model.fit(batches, { epochs: 1 })).rejects.toThrow(
      /^Batch 0 of epoch 0: its label holds .* 7 \(1 voxels\)/,
    );
  });

  test('255 alone is none of them', async () => {
    using model = await create({ classes: 8 });
    await model.fit([damaged()], { epochs: 1, batchSize: 1 });
  });
});

test('a misspelt option is refused with the one it may mean, else with all', async () => {
  await expect(create(untyped({ feature: [4, 8] }))).rejects.toThrow(
    /UNet3D.create has no option 'feature': did you mean features or upFeatures\?/,
  );
  await expect(create(untyped({ learningRate: 1 }))).rejects.toThrow(
    /it takes architecture, inChannels, .*features, /,
  );
  using model = await create();
  const fit = async (options: unknown) => model.fit([box(1)], untyped<TrainingOptions>(options));
  await expect(fit({ epoch: 1 })).rejects.toThrow(/fit has no option 'epoch': did you mean epochs\?/);
  await expect(fit({ epochs: 1, batch: 1 })).rejects.toThrow(/did you mean batchSize or patch\?/);
  await expect(fit({ epochs: 1, agumentation: 1 })).rejects.toThrow(/did you mean augmentation\?/);
});

test('what is no file is refused with what is one', async () => {
  await expect(UNet3D.load(untyped(new ArrayBuffer(8)))).rejects.toThrow(
    /takes the bytes .* not an object of type ArrayBuffer: give `await readFile\(path\)`/,
  );
  using model = await create();
  for (const [value, name] of [
    [5, '5'],
    [undefined, 'undefined'],
    [{}, 'an object of type Object'],
  ] as const) {
    const error: unknown = await model.predict(untyped(value)).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(InvalidOption);
    expect((error as Error).message).toContain(`a source is ${name}: give a path`);
  }
});

test('a GPU without room for the weights says so at once, and nothing stays on it', async () => {
  const { device } = await testDevice();
  using model = await create();
  const file = await model.save();
  const { config } = model;
  for (const full of ['parameters', 'statistics']) {
    const made: GPUBuffer[] = [];
    const destroyed = new Set<GPUBuffer>();
    const createBuffer = (descriptor: GPUBufferDescriptor): GPUBuffer => {
      const buffer = device.createBuffer({ ...descriptor, ...(descriptor.label === full && { usage: 0 }) });
      made.push(buffer);
      const destroy = buffer.destroy.bind(buffer);
      return Object.defineProperty(buffer, 'destroy', {
        value: () => {
          destroyed.add(buffer);
          destroy();
        },
      });
    };
    const altered = { device: alteredDevice(device, { createBuffer }) };
    for (const opening of [
      () => UNet3D.create({ inChannels: 1, classes: 2, features: [2], ...altered }),
      () => UNet3D.load(file, altered),
      () => OpenNetwork.open(config, altered),
    ])
      await expect(opening()).rejects.toThrow(/^making the network: /);
    expect(made.length).toBeGreaterThan(0);
    expect(destroyed).toEqual(new Set(made));
  }
  (await testDevice()).assertAlive(); // nobody else hears of it
});

test('after dispose, everything that needs the GPU says so', async () => {
  const model = await create();
  const item = box(1);
  model.dispose();
  for (const late of [
    () => model.fit([item], { epochs: 1, checkpoint: memory() }),
    () => model.evaluate([item]),
    () => model.logits(item),
    () => model.save(),
  ]) {
    const error: unknown = await Promise.resolve(late()).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(DeviceLost);
    expect((error as Error).message).toMatch(/^the model or its GPU was disposed .*create or load a new one/);
  }
});

describe('what is not finite', () => {
  /** A model file with one weight replaced, as other tools write it. */
  async function withWeight(name: string, value: number): Promise<Uint8Array> {
    using model = await create();
    const { tensors, metadata } = readSafetensors(await model.save());
    const tensor = tensors.get(name)!;
    const data = Float32Array.from(tensor.data);
    data[1] = value;
    return writeSafetensors({
      metadata: Object.fromEntries(Object.entries(metadata).filter(([key]) => key !== 'sha256')),
      tensors: new Map([...tensors, [name, { ...tensor, data }]]),
    });
  }

  test('is told by every call that would take it for background, with where it comes from', async () => {
    const { device } = await testDevice();
    const image = box(1) as LabelledCase;
    const bytes = await withWeight('encoder.0.conv2.weight', 3e38);
    using overflowing = await UNet3D.load(bytes, { device });
    using sound = await create();
    const dark = { ...image, image: image.image.map((value, at) => (at === 5 ? NaN : value)) };
    for (const [model, item, message] of [
      [overflowing, image, /values overflow within the network \(stored in f32\)/],
      [sound, dark, /voxels of the prepared image are not finite/],
    ] as const)
      for (const call of [
        () => model.logits(item),
        () => model.evaluate([item]),
        () => model.choosePostprocessing([item]),
      ])
        await expect(call()).rejects.toSatisfy(
          (error) => error instanceof NotFinite && message.test(error.message),
        );
  });
});

test('post-processing is chosen by one case at least', async () => {
  using model = await create();
  await expect(model.choosePostprocessing([])).rejects.toThrow(
    'choosePostprocessing: there is no case to choose by; give one at least',
  );
});

test('evaluate keeps to the memory budget: a case that exceeds it goes through windows', async () => {
  const item = box(1) as LabelledCase;
  using roomy = await create({ features: [4, 8] });
  const [whole] = await roomy.evaluate([item]);
  const { device } = await testDevice();
  const bytes = await roomy.save();
  const { plan } = planEvaluation({
    config: roomy.config,
    size: [8, 8, 8],
    batch: 1,
    precision: 'f32',
    loss: lossShape(weightedDice(), 2),
  });
  using tight = await UNet3D.load(bytes, { device, memoryBudget: plan.peakBytes });
  const before = tight.gpu.allocatedBytes;
  const seen: number[] = [];
  const createBuffer = device.createBuffer.bind(device);
  device.createBuffer = (descriptor) => {
    seen.push(descriptor.size);
    return createBuffer(descriptor);
  };
  const [windowed] = await tight.evaluate([item]).finally(() => (device.createBuffer = createBuffer));
  expect(Math.max(...seen)).toBeLessThanOrEqual(plan.peakBytes);
  expect(tight.gpu.allocatedBytes - before).toBeLessThanOrEqual(plan.peakBytes); // the plan for predictions stays
  const logits = await tight.logits(item);
  expect(windowed!.predicted).toEqual(
    Uint8Array.from(item.label, (_, at) => (logits[at]! >= logits[at + item.label.length]! ? 0 : 1)),
  );
  expect(windowed!.loss).toBeGreaterThan(0);
  expect(windowed!.loss).not.toBe(whole!.loss);
});

test('windows are chosen for the kernels that run, at the first prediction as at those after it', async () => {
  const { device: real, limits } = await testDevice();
  const mistaken = (code: string, label: string) =>
    label.startsWith('conv3/forward_channels') ? code.replace('toQuad(result)', 'toQuad(2*result)') : code;
  const device = alteredDevice(real, compiling(real, mistaken));
  const store = memory();
  setTuningStore(() => Promise.resolve(store));
  onTestFinished(() => setTuningStore(() => Promise.resolve(undefined)));
  const warned = vi.spyOn(console, 'warn').mockReturnValue();
  onTestFinished(() => warned.mockRestore());
  const kernels = { ...kernelChoices.lavapipe, conv3: 'channels' } as const;
  const network = { features: [4, 8], norm: 'instance', limits: { kernels } } as const;
  using roomy = await create({ ...network, device });
  const bytes = (conv3: 'channels' | 'voxels') =>
    planSlabs({
      ...{ config: roomy.config, size: [16, 16, 16], batch: 1, precision: 'f32' },
      limits: { ...limits, kernels: { ...kernels, conv3 } },
    }).plan.peakBytes;
  expect(bytes('voxels')).toBeGreaterThan(bytes('channels'));
  using model = await create({ ...network, device, memoryBudget: bytes('channels') });
  const windows: number[] = [];
  const volume = { shape: [16, 16, 16], image: new Float32Array(16 ** 3) } as const;
  for (let call = 0; call < 2; call++) {
    let total = 0;
    await model.logits(volume, { onProgress: (progress) => void ({ total } = progress) });
    windows.push(total);
  }
  expect(windows[0]).toBeGreaterThan(1);
  expect(windows[1]).toBe(windows[0]);
  expect(warned.mock.calls).toEqual([[expect.stringContaining("the kernel 'forward channels f32' wrongly")]]);
});
