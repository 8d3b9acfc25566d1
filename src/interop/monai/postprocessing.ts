/** What a bundle does with what its network gives, as its inference.json says. */
import * as v from 'valibot';
import { finite, flag, held, object, wholeNumber } from '../../schema.ts';
import { componentsIn, ignored, plainName } from './compose.ts';
import type { KeptComponents } from './components.ts';
import { requireValues, type BundleConfig, type Component } from './config.ts';

/** How labels are made of logits. */
export interface Outcome {
  /**
   * What comes back to the image's own grid: probabilities, which decide there, or labels, each from the voxel that is
   * nearest. Default: probabilities.
   */
  readonly back?: 'labels' | undefined;
  /**
   * Of channels that may overlap: each is there where its probability, the sigmoid of its logit, is at least this.
   * Default: the class of the largest probability.
   */
  readonly threshold?: number | undefined;
  /** What is done with them, in order. */
  readonly components?: readonly KeptComponents[] | undefined;
}

const nothing = v.optional(v.null('null'));
const activations = object({
  ...ignored,
  sigmoid: v.optional(flag, false),
  softmax: v.optional(flag, false),
  other: nothing,
});
const discrete = object({
  ...ignored,
  argmax: v.optional(flag, false),
  threshold: v.optional(v.nullable(finite())),
  to_onehot: nothing,
  rounding: nothing,
});
const labelValue = wholeNumber(0, 255);
const largest = object({
  ...ignored,
  applied_labels: v.optional(
    v.nullable(v.union([labelValue, v.array(labelValue, 'labels')], 'a label or a list of labels')),
  ),
  is_onehot: v.optional(v.nullable(flag)),
  independent: v.optional(flag, true),
  connectivity: v.optional(v.nullable(v.picklist([1, 2, 3], '1, 2 or 3'))),
  num_components: v.optional(wholeNumber(1), 1),
});

/** @throws InvalidModel naming what is not supported */
export function readOutcome(config: BundleConfig, classes: number): Outcome {
  if (!config.has('postprocessing')) {
    if (classes > 1) return {};
    throw config.failure(
      'there is no postprocessing, without which the class of the largest probability counts, and the network has one channel ' +
        'alone: add Activations with sigmoid, Invert with nearest_interp false, then AsDiscrete with threshold, as it was trained',
    );
  }
  const steps = componentsIn('postprocessing', config);
  const names = steps.map(({ className }) => plainName(className));
  const read = <S extends v.GenericSchema<unknown, unknown>>(schema: S, name: string) => {
    const step = steps[names.indexOf(name)];
    return step && valuesOf(schema, step, config);
  };
  const { sigmoid = false, softmax = false } = read(activations, 'Activations') ?? {};
  const { argmax = false, threshold } = read(discrete, 'AsDiscrete') ?? {};
  const isNearest = steps[names.indexOf('Invert')]?.given['nearest_interp'] ?? true; // MONAI's default
  const order = names.filter((name) => name !== 'KeepLargestConnectedComponent').join();
  const isBack = order.endsWith('AsDiscrete,Invert');
  const isUsual = argmax && classes > 1 && threshold == null && !sigmoid && (softmax || isBack);
  const isOverlapping = !argmax && threshold != null && sigmoid && !softmax;
  const isOrdered = orders.includes(order) && (names[0] === 'Activations') === (sigmoid || softmax);
  const decided = names.indexOf('AsDiscrete');
  const isBehind = names.every((name, at) => name !== 'KeepLargestConnectedComponent' || at > decided);
  if (!isOrdered || !isBehind || isNearest !== isBack || !(isUsual || isOverlapping))
    throw config.failure(
      `postprocessing is ${names.join(', ')}; expected Activations with softmax, Invert with nearest_interp false, then AsDiscrete ` +
        'with argmax; or AsDiscrete with argmax, then Invert with nearest_interp true; in place of softmax and argmax there may be ' +
        'sigmoid and threshold, as of one channel alone, and behind AsDiscrete KeepLargestConnectedComponent',
    );
  const inverted = names.indexOf('Invert');
  const kept = steps.flatMap((step, at) => {
    if (names[at] !== 'KeepLargestConnectedComponent') return [];
    const channels = isOverlapping ? classes : 1;
    return [keptOf(step, config, { channels, grid: at < inverted ? 'network' : 'image' })];
  });
  return {
    ...(isBack && { back: 'labels' }),
    ...(isOverlapping && { threshold }),
    ...(kept.length > 0 && { components: kept }),
  };
}

/** But for what keeps components. */
const orders = ['Activations,Invert,AsDiscrete', 'Activations,AsDiscrete,Invert', 'AsDiscrete,Invert'];

function valuesOf<S extends v.GenericSchema<unknown, unknown>>(
  schema: S,
  step: Component,
  config: BundleConfig,
): v.InferOutput<S> {
  requireValues(step, config);
  return held(schema, step.given, {
    expected: 'expected',
    fail: (problem) => config.failure(`of ${step.className}, ${problem}`),
  });
}

function keptOf(
  step: Component,
  config: BundleConfig,
  { channels, grid }: { readonly channels: number; readonly grid: KeptComponents['grid'] },
): KeptComponents {
  const {
    applied_labels: labels,
    is_onehot: isOnehot,
    independent,
    connectivity,
    num_components: count,
  } = valuesOf(largest, step, config);
  const isChannels = channels > 1;
  if (isOnehot != null && isOnehot !== isChannels)
    throw config.failure(
      `of ${step.className}, is_onehot is ${isOnehot} where there ${isChannels ? `are ${channels} channels` : 'is one map of labels'}; ` +
        `expected ${isChannels}`,
    );
  const list = labels == null ? undefined : [labels].flat();
  const beyond = isChannels ? list?.find((channel) => channel >= channels) : undefined;
  if (beyond !== undefined)
    throw config.failure(
      `of ${step.className}, applied_labels has ${beyond}; expected channels from 0 to ${channels - 1}`,
    );
  return { grid, ...(list && { labels: list }), independent, hops: connectivity ?? 3, count };
}
