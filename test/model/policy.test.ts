/** What is computed again in the backward pass: it changes no bit, and how it is chosen. */
import { describe, expect, test } from 'vitest';
import { random } from '../../src/data/random.ts';
import { labelsToStored, toStored } from '../../src/gpu/layout.ts';
import { defaultLimits, Recorder } from '../../src/gpu/plan.ts';
import type { Precision } from '../../src/gpu/precision.ts';
import type { Size3 } from '../../src/size.ts';
import { Program } from '../../src/gpu/program.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import type { UNet3DConfig } from '../../src/model/config.ts';
import { isStored, type Node } from '../../src/model/graph.ts';
import { planTraining, recomputedWithin } from '../../src/model/plan.ts';
import { sharedWords } from '../../src/model/shared-tensors.ts';
import type { TrainingShape } from '../../src/model/plan-shape.ts';
import { candidates, choose, forgotten, type Cost } from '../../src/model/policy.ts';
import { Recording } from '../../src/model/recording.ts';
import { ModelState } from '../../src/model/state.ts';
import { unet } from '../../src/model/unet.ts';
import { testDevice } from '../support/device.ts';
import { leaveToNode } from '../support/left-to-node.ts';
import { expectSameBits } from '../support/run.ts';

const size: Size3 = [12, 8, 8];
const residual = 'residual blocks, kernels and strides per axis';

describe('what is computed again changes no bit', () => {
  const batch = 2;
  const classes = 3;

  /** Gradients, statistics and results of one batch, for a network that forgets these outputs. */
  async function gradientsOf(config: UNet3DConfig, precision: Precision) {
    const gpu = await testDevice();
    const state = new ModelState(gpu, config, 5);
    const { layout } = state;
    const initial = await state.readWeights();
    const source = random(3, 'policies');
    const { graph, heads } = unet(config, { batch, size });
    const voxels = batch * size[0] * size[1] * size[2];
    const pixels = Float32Array.from({ length: voxels * config.inChannels }, () => source.normal());
    const truth = Uint8Array.from({ length: voxels }, () => source.int(classes));
    const run = async (nodes: Iterable<Node>) => {
      const recorder = new Recorder(gpu.limits, precision);
      const words = sharedWords(config, layout);
      const shared = (name: string) => recorder.flat(name, words[name]!, 'shared');
      const [parameters, statistics, gradients] = [
        shared('parameters'),
        shared('statistics'),
        shared('gradients'),
      ];
      const [results, classWeights, lossScale] = [
        shared('results'),
        shared('classWeights'),
        shared('lossScale'),
      ];
      const image = recorder.volume('image', batch, config.inChannels, size, 'resident');
      const labels = recorder.labels('labels', batch, size, 'resident');
      const model = { layout, parameters, statistics, gradients };
      const recording = new Recording(recorder, graph, model, true);
      recording.forward(image);
      recording.forget(nodes);
      const shape = { classes, dice: 1, crossEntropy: 1, smooth: 1e-5, batchDice: false };
      recording.of(heads[0]!).loss({ labels, classWeights, results, lossScale }, shape);
      recording.backward();
      const plan = recorder.finish();
      const names = ['parameters', 'statistics', 'gradients', 'results', 'classWeights', 'lossScale'];
      state.writeWeights(initial);
      state.write('gradients', new Float32Array(layout.parameterWords));
      state.write('classWeights', new Float32Array(2 * classes).fill(1 / classes));
      state.write('lossScale', new Float32Array([1, 0]));
      const program = await Program.create(gpu, plan, await state.shared(names));
      program.write(image, toStored(image, pixels));
      program.write(labels, labelsToStored(labels, truth));
      await program.run();
      const found = {
        gradients: await state.read('gradients'),
        statistics: await state.read('statistics'),
        results: await state.read('results'),
        flops: plan.flops,
      };
      program.dispose();
      return found;
    };
    return { graph, run, dispose: () => state.dispose() };
  }

  const cases: { name: string; network: Partial<UNet3DConfig>; precision?: Precision }[] = [
    { name: 'batch norm', network: { inChannels: 2, features: [3, 5, 6] } },
    {
      name: 'instance norm, leaky ReLU',
      network: { features: [4, 6], norm: 'instance', activation: 'leakyRelu' },
    },
    { name: 'float16', network: { features: [4, 6] }, precision: 'f16' },
    {
      name: residual,
      network: {
        features: [3, 5, 5],
        norm: 'instance',
        activation: 'leakyRelu',
        strides: [
          [2, 2, 1],
          [2, 2, 2],
        ],
        kernels: [
          [3, 3, 1],
          [3, 3, 3],
          [3, 3, 3],
        ],
        block: 'residual',
        encoderBlocks: [1, 2, 2],
        decoderBlocks: [1, 1],
        down: 'conv',
      },
    },
  ];
  const tried = leaveToNode('what is computed again', cases, ({ name }) => name === residual);
  test.each(tried)('$name', async ({ network, precision = 'f32' }) => {
    const config = completeConfig({ inChannels: 1, classes, ...network });
    const { graph, run, dispose } = await gradientsOf(config, precision);
    const stored = graph.nodes.filter(isStored);
    const kept = await run([]);
    expect(Math.max(...kept.gradients.map(Math.abs))).toBeGreaterThan(0);
    const draw = random(7, 'policies');
    const some = () => stored.filter(() => draw.int(2) === 0);
    const policies = [...stored.map((node) => [node]), forgotten(graph, []), stored, some(), some(), some()];
    for (const nodes of policies) {
      const again = await run(nodes);
      const names = [...nodes].map(({ name }) => name).join(', ');
      for (const what of ['gradients', 'statistics', 'results'] as const)
        expectSameBits(again[what], kept[what], `${what} without ${names}`);
    }
    expect((await run(stored)).flops).toBeGreaterThan(kept.flops);
    dispose();
  });
});

describe('choosing what is computed again', () => {
  const config = completeConfig({ inChannels: 1, classes: 6, features: [16, 32, 64, 128] });
  const study = {
    config,
    size: [256, 256, 128],
    batch: 2,
    loss: { classes: 6, dice: 1, crossEntropy: 0, smooth: 1e-5, batchDice: false },
    optimizer: { kind: 'adam' },
    limits: { ...defaultLimits, maxBufferBytes: 4 * 2 ** 30 },
  } as const;
  const GiB = 2 ** 30;

  test('one after the other, most bytes per operation first, until it fits; what became superfluous is kept', () => {
    // Bytes and operations by name; c makes a superfluous.
    const savings: Record<string, Cost> = {
      a: { peakBytes: 10, flops: 1 },
      b: { peakBytes: 30, flops: 6 },
      c: { peakBytes: 50, flops: 25 },
    };
    const costOf = (names: readonly string[]): Cost => ({
      peakBytes: names.reduce((bytes, name) => bytes - savings[name]!.peakBytes, 100),
      flops: names.reduce((flops, name) => flops + savings[name]!.flops, 100),
    });
    const within = (bytes: number) => choose(['c', 'a', 'b'], costOf, ({ peakBytes }) => peakBytes <= bytes);
    expect(within(100)).toEqual([]);
    expect(within(90)).toEqual(['a']);
    expect(within(65)).toEqual(['a', 'b']);
    expect(within(20)).toEqual(['b', 'c']);
    expect(within(0)).toEqual(['a', 'b', 'c']);
  });

  test('what saves nothing is never computed again', () => {
    const costOf = (names: readonly string[]) => ({ peakBytes: 100, flops: 100 + names.length });
    expect(choose(['a', 'b'], costOf, () => false)).toEqual([]);
  });

  test('without a budget, what saves too little for its work is kept, and what others have made superfluous', () => {
    const price: Record<string, number> = { a: 1, b: 8, c: 6 };
    const costOf = (names: readonly string[]): Cost => ({
      peakBytes: (names.includes('b') ? 60 : names.includes('a') ? 90 : 100) - (names.includes('c') ? 1 : 0),
      flops: names.reduce((flops, name) => flops + price[name]!, 100),
    });
    const all = ['c', 'b', 'a'];
    expect(choose(all, costOf)).toEqual(['b']);
    expect(choose(all, costOf, ({ peakBytes }) => peakBytes < 60)).toEqual(['b', 'c']);
    expect(choose(all, costOf, () => false)).toEqual(['b', 'c']);
  });

  test('residual blocks without a budget: most of what can be saved, for a fraction of the work', () => {
    const residual = {
      ...study,
      config: completeConfig({
        ...config,
        features: [16, 32, 64],
        block: 'residual',
        encoderBlocks: [1, 3, 4],
      }),
      size: [64, 64, 64],
    } as const;
    const cost = (shape: Partial<TrainingShape>) => planTraining({ ...residual, ...shape }).plan;
    const usual = cost({});
    const worthwhile = cost({ checkpointing: true });
    const everything = cost({ checkpointing: recomputedWithin(residual, 0) });
    const saved = (plan: Cost) => usual.peakBytes - plan.peakBytes;
    expect(saved(worthwhile)).toBeGreaterThan(0.7 * saved(everything));
    expect(worthwhile.flops - usual.flops).toBeLessThan(0.5 * (everything.flops - usual.flops));
  });

  test('names that are not stored are refused', () => {
    const { graph } = unet(config, { batch: 1, size });
    expect(candidates(graph)).toContain('encoder.0.conv2');
    for (const name of ['encoder.9.conv1', 'encoder.0.norm1', 'head'])
      expect(() => planTraining({ ...study, checkpointing: [name] })).toThrow(
        new RegExp(
          `checkpointing names '${name}', which this network does not store; give true, or any of .*encoder.0.conv2`,
        ),
      );
    const text = 'encoder.0.conv2' as unknown as string[];
    expect(() => planTraining({ ...study, checkpointing: text })).toThrow(
      /checkpointing is "encoder.0.conv2"; give true, false, or a list/,
    );
  });

  test('at the size of a study: how much is saved for how much work', () => {
    const everything = { ...study, size: [64, 64, 32] as const };
    const { graph } = unet(config, everything);
    expect([...forgotten(graph, [])].map(({ name }) => name)).toEqual([
      'encoder.0.conv1',
      'encoder.1.pool',
      'encoder.2.pool',
      'encoder.3.pool',
      'decoder.2.up',
      'decoder.1.up',
      'decoder.0.up',
    ]);
    const usual = planTraining(study).plan;
    // The work of what the default computes again.
    const voxels = 2 * 256 * 256 * 128;
    const free =
      2 * voxels * (27 * 16 + [16, 32, 64].reduce((sum, n, level) => sum + (2 * n * n) / 8 ** level, 0));
    const work = usual.flops - free;
    expect(usual.peakBytes).toBeLessThanOrEqual(5.45 * GiB);
    expect(usual.flops / work).toBeLessThanOrEqual(1.01);
    for (const [budget, most] of [
      [4.4, 1.07],
      [4, 1.13],
    ] as const) {
      const checkpointing = recomputedWithin(study, budget * GiB);
      const { plan } = planTraining({ ...study, checkpointing });
      expect(plan.peakBytes).toBeLessThanOrEqual(budget * GiB);
      expect(plan.flops / work).toBeLessThanOrEqual(most);
    }
    const least = planTraining({ ...study, checkpointing: true });
    expect(least.plan.peakBytes).toBeLessThanOrEqual(4 * GiB);
    expect(least.recomputed).toContain('encoder.0.conv2');
  });
});
