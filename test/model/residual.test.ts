/**
 * Layers that no network of `unet.ts` has together, in a graph of their own against PyTorch in float64: anisotropic
 * kernels, residual blocks with identity and projected shortcuts, strided convolutions, average-pooling, sums with and
 * without an activation, norms without weights, and a decoder that reads up before skip. Then what is computed again.
 */
import { describe, expect, test } from 'vitest';
import { random } from '../../src/data/random.ts';
import type { PlanLimits } from '../../src/gpu/plan.ts';
import type { Precision } from '../../src/gpu/precision.ts';
import type { Size3 } from '../../src/size.ts';
import { Graph, isStored, shapesOf, type Node } from '../../src/model/graph.ts';
import { act } from '../../src/model/layers/act.ts';
import { conv } from '../../src/model/layers/conv.ts';
import { head } from '../../src/model/layers/head.ts';
import { norm } from '../../src/model/layers/norm.ts';
import { pool } from '../../src/model/layers/pool.ts';
import { sum } from '../../src/model/layers/sum.ts';
import { upconv } from '../../src/model/layers/upconv.ts';
import type { Parameter, ParameterLayout } from '../../src/model/parameters.ts';
import { Recording } from '../../src/model/recording.ts';
import { optimizerStep, stepArray, updateArray } from '../../src/ops/optimizer.ts';
import fixture from '../fixtures/torch/residual.json';
import { testLeftToNode } from '../support/left-to-node.ts';
import { Bench, expectClose, expectSameBits, relativeError } from '../support/run.ts';
import { bytes, floats, volume, type PackedFloats } from '../support/torch.ts';

const batch = 2;
const classes = 3;
const size: Size3 = [12, 8, 6];

/** The network of `Residual` in test/fixtures/pytorch.py. */
function network() {
  const graph = new Graph({ batch, channels: 2, size });
  const flat: Size3 = [3, 3, 1];
  const one: Size3 = [1, 1, 1];
  const twos: Size3 = [2, 2, 2];
  const stride: Size3 = [2, 2, 1];
  const slope = 0.1;
  const [normed, activated] = [norm('instance', 1), norm('instance', slope)];
  const add = graph.add.bind(graph);

  const stem = add('stem', conv(3, { kernel: flat }), graph.image);
  const x = add('norm0', norm('instance', slope, { weighted: false }), stem);
  let main = add('norm1', activated, add('conv1', conv(3, { kernel: flat, bias: false }), x));
  main = add('norm2', normed, add('conv2', conv(3, { kernel: flat }), main));
  const first = add('act2', act(slope), add('sum2', sum, main, x));

  main = add('norm3', activated, add('down1', conv(5, { stride }), first));
  main = add('norm4', normed, add('conv4', conv(5, { bias: false }), main));
  const pooled = add('pool4', pool(stride, 'average'), first);
  let short = add('norm5', normed, add('short4', conv(5, { kernel: one, bias: false }), pooled));
  const second = add('act4', act(slope), add('sum4', sum, main, short));

  main = add('norm6', activated, add('down2', conv(4, { stride: twos }), second));
  main = add('norm7', normed, add('conv7', conv(4), main));
  short = add('short7', conv(4, { kernel: one, stride: twos }), second);
  const third = add('sum7', sum, main, short);

  let up = add('up1', upconv(2, twos), third);
  up = add('norm8', norm('batch', 0), add('conv8', conv(4), up, second));
  up = add('up0', upconv(4, stride), up);
  const last = add('act9', act(slope), add('conv9', conv(3, { kernel: flat }), up, first));
  return { graph, head: add('head', head(classes), last) };
}

/** Where the parameters of a graph's layers lie. */
function layoutOf(graph: Graph): ParameterLayout {
  const parameters = new Map<string, Parameter>();
  const statistics = new Map<string, Parameter>();
  const words = { parameters: 0, statistics: 0 };
  let count = 0;
  for (const { name, layer, inputs } of graph.nodes)
    for (const spec of layer!.parameters?.(shapesOf(inputs)) ?? []) {
      const length = spec.shape.reduce((a, b) => a * b);
      const kind = spec.statistic ? 'statistics' : 'parameters';
      const entry = { ...spec, name: `${name}.${spec.name}`, offset: words[kind], length };
      (spec.statistic ? statistics : parameters).set(entry.name, entry);
      words[kind] += 64 * Math.ceil(length / 64);
      if (!spec.statistic) count += length;
    }
  return {
    parameters,
    statistics,
    parameterWords: words.parameters,
    statisticsWords: words.statistics,
    trainedWords: words.parameters,
    count,
  };
}

/** Trains it on the fixture's batch, computing these outputs again in each step. */
async function train(
  steps: number,
  recompute: (node: Node) => boolean = () => false,
  limits: Partial<PlanLimits> = {},
  precision: Precision = 'f32',
) {
  using bench = new Bench(limits, precision);
  const { recorder } = bench;
  const { graph, head } = network();
  const layout = layoutOf(graph);
  const initial = new Float64Array(layout.parameterWords);
  const weights: Record<string, PackedFloats> = fixture.weights;
  expect([...layout.parameters.keys()].sort()).toEqual(Object.keys(weights).sort());
  for (const { name, offset, shape } of layout.parameters.values()) {
    expect(shape).toEqual(weights[name]!.shape);
    initial.set(floats(weights[name]!), offset);
  }
  const zeros = (name: string) => bench.flat(name, new Float64Array(layout.parameterWords));
  const parameters = bench.flat('parameters', initial);
  const statistics = bench.flat('statistics', new Float64Array(layout.statisticsWords));
  const [first, second] = [zeros('first'), zeros('second')];
  const image = bench.volume('image', volume(fixture.image));
  const labels = bench.labels('labels', size, batch, bytes(fixture.labels));
  const classWeights = bench.flat('classWeights', [...fixture.diceWeights, 0, 0, 0]);
  const lossScale = bench.flat('lossScale', [1, 0]);
  const update = bench.flat('update', updateArray());
  const loss = { classes, dice: 1, crossEntropy: 0, smooth: 1e-5, batchDice: false };
  const made = Array.from({ length: steps }, (_, applied) => {
    const gradients = zeros(`gradients ${applied}`);
    const results = bench.flat(`results ${applied}`, new Float64Array(3 + classes));
    const model = { layout, parameters, statistics, gradients };
    const recording = new Recording(recorder, graph, model, true);
    recording.forward(image);
    recording.forget(graph.nodes.filter((node) => isStored(node) && recompute(node)));
    recording.of(head).loss({ labels, classWeights, results, lossScale }, loss);
    recording.backward();
    const step = bench.flat(
      `step ${applied}`,
      stepArray({
        learningRate: fixture.learningRate,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weightDecay: 0,
        maxNorm: Infinity,
        applied,
      }),
    );
    const tensors = { parameters, gradients, first, second, step, update, results, lossScale };
    optimizerStep(recorder, 'optimizer', tensors, { kind: 'adam', length: layout.parameterWords });
    return { gradients, results };
  });
  const { peakBytes, flops } = recorder.finish();
  await bench.run();
  const losses = await Promise.all(made.map(({ results }) => bench.readFlat(results, 3 + classes)));
  return {
    layout,
    peakBytes,
    flops,
    losses: losses.map(([value]) => value!),
    gradients: await bench.readFlat(made[0]!.gradients, layout.parameterWords),
    parameters: await bench.readFlat(parameters, layout.parameterWords),
    statistics: await bench.readFlat(statistics, layout.statisticsWords),
  };
}

/** A norm takes the mean away: the true gradient of a bias in front of it is zero. */
const isCentred = (name: string): boolean => /^(stem|conv[278]|down[12])\.bias$/.test(name);

test('loss, gradients of all parameters, and three steps with Adam', async () => {
  const { layout, losses, gradients } = await train(3);
  losses.forEach((loss, step) => expectClose([loss], [fixture.losses[step]!], `loss of step ${step}`));
  const expected: Record<string, PackedFloats> = fixture.gradients;
  for (const { name, offset, length } of layout.parameters.values()) {
    const found = gradients.subarray(offset, offset + length);
    if (isCentred(name)) expect(Math.max(...found.map(Math.abs)), name).toBe(0);
    else expect(relativeError(found, floats(expected[name]!)), name).toBeLessThanOrEqual(1e-4);
  }
});

// Every volume and every gradient on the way is rounded by up to 2⁻¹¹, some forty in a row, and norms over a few voxels
// enlarge that; adapters that keep float16 as such and those that pack it differ in the third digit.
testLeftToNode('in float16 the gradients are those of float32 but for rounding', async () => {
  const [exact, rounded] = [await train(1), await train(1, undefined, undefined, 'f16')];
  expect(relativeError(rounded.gradients, exact.gradients)).toBeLessThanOrEqual(5e-2);
});

describe('the same bits', async () => {
  const kept = await train(2);
  const same = (other: Awaited<ReturnType<typeof train>>) => {
    for (const what of ['gradients', 'parameters', 'statistics'] as const)
      expectSameBits(other[what], kept[what], what);
  };
  const draw = random(11, 'residual');

  test.each<[string, (node: Node) => boolean]>([
    ['everything', () => true],
    ['the sums', ({ name }) => name.startsWith('sum')],
    ['some', () => draw.int(2) === 0],
    ['others', () => draw.int(2) === 0],
  ])('computing %s again', async (_, recompute) => {
    const again = await train(2, recompute);
    expect(again.flops).toBeGreaterThan(kept.flops);
    same(again);
  });

  test('cut along z by a binding limit', async () => {
    const cut = await train(2, undefined, { maxBindingBytes: 16384 });
    for (const what of ['gradients', 'parameters', 'statistics'] as const)
      expectClose(cut[what], kept[what], what);
  });
});
