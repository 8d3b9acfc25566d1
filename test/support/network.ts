/**
 * A whole network on a batch, with the outputs of all its heads and, for a loss that is linear in these, the gradients
 * of all parameters and of the input: what other tools' fixtures hold.
 */
import { expect } from 'vitest';
import type { Axes } from '../../src/interop/nnunet/network.ts';
import type { UNet3DConfig } from '../../src/model/config.ts';
import type { Layer, Node } from '../../src/model/graph.ts';
import { head, type HeadRecording } from '../../src/model/layers/head.ts';
import { network } from '../../src/model/network.ts';
import { layoutParameters } from '../../src/model/parameters.ts';
import { Recording } from '../../src/model/recording.ts';
import type { VolumeTensor } from '../../src/gpu/plan.ts';
import { biasGradient } from '../../src/ops/common.ts';
import { conv1BackwardInput, conv1BackwardWeight } from '../../src/ops/conv1.ts';
import { copy } from '../../src/ops/sum.ts';
import type { Weights } from '../../src/model/state.ts';
import { namedTensors } from '../../src/weights/named-tensors.ts';
import { readSafetensors, type NamedTensor } from '../../src/weights/safetensors.ts';
import type { interopFixture, InteropFixture } from './interop.ts';
import { Bench, type Dense } from './run.ts';

type Beside = NonNullable<Awaited<ReturnType<typeof interopFixture<InteropFixture>>>>;

export interface NetworkResult {
  /** Of each head, the finest first. */
  readonly logits: readonly Dense[];
  /** Of each parameter, where there was a loss. */
  readonly gradients: ReadonlyMap<string, NamedTensor>;
  /** Of the input, where there was a loss. */
  readonly inputGradient: Dense | undefined;
}

/**
 * @param logitGradients what the loss has for each head, the finest first; without, there is no backward pass
 */
export async function runNetwork(
  config: UNet3DConfig,
  weights: Weights,
  input: Dense,
  logitGradients?: readonly Dense[],
): Promise<NetworkResult> {
  const [batch, , z, y, x] = input.shape;
  using bench = new Bench();
  const { recorder } = bench;
  const { graph } = network(config, { batch, size: [x, y, z] });
  const layout = layoutParameters(config);
  const heads = graph.nodes
    .filter(({ name }) => /(^|\.)head$/.test(name))
    .sort((a, b) => b.shape.size[0] - a.shape.size[0]) as Node<HeadRecording>[];
  const dLogits = logitGradients?.map((values, index) => bench.volume(`logits ${index}.d`, values));
  heads.forEach((node, index) => {
    // Those that are not trained have no pass of their own; those without weights end in the logits.
    const layer = node.layer!.parameters ? head(config.classes) : node.layer!;
    Object.assign(node, { layer: linear(layer, dLogits?.[index]) });
  });
  const target = dLogits && bench.output('image.d', batch, config.inChannels, [x, y, z]);
  if (target) {
    const left = { target, begun: false };
    for (const { node, slot } of graph.image.consumers)
      Object.assign(node, { layer: withInputGradient(node.layer!, slot, left) });
  }
  const model = {
    layout,
    parameters: bench.flat('parameters', weights.parameters),
    statistics: bench.flat('statistics', weights.statistics),
    gradients: dLogits && bench.flat('gradients', new Float32Array(layout.parameterWords)),
  };
  const image = bench.volume('image', input);
  const recording = new Recording(recorder, graph, model, dLogits !== undefined);
  recording.forward(image);
  const outputs = heads.map((node) => {
    const { batch: samples, channels, size } = node.shape;
    const output = bench.output(`${node.name} logits`, samples, channels, size);
    recording.of(node).logits(output);
    return output;
  });
  if (dLogits) recording.backward();
  await bench.run();
  const logits: Dense[] = [];
  for (const output of outputs) logits.push(await bench.read(output));
  if (!model.gradients) return { logits, gradients: new Map(), inputGradient: undefined };
  const flat = await bench.readFlat(model.gradients, layout.parameterWords);
  return {
    logits,
    gradients: namedTensors(layout.parameters, flat),
    inputGradient: await bench.read(target!),
  };
}

/** A head whose logits have this gradient. */
const linear = (layer: Layer<HeadRecording>, dLogits: VolumeTensor | undefined): Layer<HeadRecording> => ({
  ...layer,
  at(context, node) {
    const recording: HeadRecording = { ...layer.at(context, node) };
    delete recording.lossGradient;
    if (!dLogits) return recording;
    const { name, inputs } = node;
    return {
      ...recording,
      lossGradient(target, add) {
        const { recorder } = context;
        if (!layer.parameters) {
          copy(recorder, `${name} dX`, { tensor: dLogits }, target);
          return;
        }
        const input = context.read(inputs[0]!);
        const [weights, dWeights] = [context.parameter(`${name}.weight`), context.gradient(`${name}.weight`)];
        conv1BackwardWeight(recorder, `${name} dW`, { input, dOutput: dLogits, dWeights });
        biasGradient(recorder, `${name} db`, dLogits, context.gradient(`${name}.bias`));
        conv1BackwardInput(recorder, `${name} dX`, { dOutput: dLogits, weights, dInput: target }, { add });
      },
    };
  },
});

/** A layer that reads the image, which leaves the gradient of its input as well: no plan has need of that. */
const withInputGradient = (
  layer: Layer,
  slot: number,
  left: { readonly target: VolumeTensor; begun: boolean },
): Layer => ({
  ...layer,
  at(context, node) {
    const pass = layer.at(context, node);
    return {
      ...pass,
      parameterGradients(d) {
        pass.parameterGradients?.(d);
        pass.inputGradient!(d, slot, left.target, left.begun);
        left.begun = true;
      },
    };
  },
});

/**
 * Holds a network against a fixture within the tolerances of the fixtures' README: 1e-4 of the largest output; of
 * gradients, 1e-3 of the largest in each tensor, and 1e-6 for those that are 0 but for rounding.
 * @param axes of the fixture's arrays that z, y, x of the network are
 * @param theirs turns our gradients into tensors by the names of the other tool
 */
export async function expectForward(
  { fixture: { forward }, bytesAt, floatsAt }: Beside,
  config: UNet3DConfig,
  weights: Weights,
  theirs: (ours: ReadonlyMap<string, NamedTensor>) => ReadonlyMap<string, NamedTensor>,
  axes: Axes = [0, 1, 2],
): Promise<void> {
  const array = async (shape: readonly number[], path: string): Promise<Dense> => {
    const data = Float64Array.from(await floatsAt(`forward/${path}`));
    return turned({ shape: shape as Dense['shape'], data }, axes);
  };
  const { input, outputs, loss } = forward;
  const logitGradients: Dense[] = [];
  for (const [index, path] of (loss?.weights ?? []).entries()) {
    const { shape, data } = await array(outputs[index]!.shape, path);
    logitGradients.push({ shape, data: data.map((value) => value / data.length) });
  }
  const image = await array(input.shape, input.file);
  const found = await runNetwork(config, weights, image, loss && logitGradients);
  for (const [index, { file, shape, maxAbs }] of outputs.entries()) {
    const { data } = await array(shape, file);
    expect(largestDifference(found.logits[index]!.data, data), file).toBeLessThanOrEqual(1e-4 * maxAbs);
  }
  if (!loss) return;
  const named = theirs(found.gradients);
  const { tensors } = readSafetensors(await bytesAt(`forward/${loss.gradients}`));
  for (const [name, { data }] of tensors)
    expect(largestDifference(named.get(name)!.data, data), name).toBeLessThanOrEqual(
      1e-3 * largest(data) + 1e-6,
    );
  const { data } = await array(input.shape, loss.inputGradient);
  expect(largestDifference(found.inputGradient!.data, data), 'input').toBeLessThanOrEqual(
    1e-3 * largest(data) + 1e-6,
  );
}

/** [n][c] and three axes with these in another order, by default the reverse. */
export function turned({ shape: [n, c, ...lengths], data }: Dense, axes: Axes = [2, 1, 0]): Dense {
  const [z, y, x] = axes.map((axis) => lengths[axis]!) as [number, number, number];
  const steps = [lengths[1] * lengths[2], lengths[2], 1];
  const [stepZ, stepY, stepX] = axes.map((axis) => steps[axis]!) as [number, number, number];
  const result = new Float64Array(data.length);
  for (let at = 0; at < data.length; at++) {
    const [i, j, k] = [at % x, Math.floor(at / x) % y, Math.floor(at / (x * y)) % z];
    const plane = Math.floor(at / (x * y * z)) * x * y * z;
    result[at] = data[plane + k * stepZ + j * stepY + i * stepX]!;
  }
  return { shape: [n, c, z, y, x], data: result };
}

const largest = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((most, value) => Math.max(most, Math.abs(value)), 0);

function largestDifference(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(found.length).toBe(expected.length);
  return largest(Array.from(expected, (value, index) => found[index]! - value));
}
