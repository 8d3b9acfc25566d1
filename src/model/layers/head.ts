/**
 * The head: a 1×1×1 convolution to one logit per class, and the loss behind it. Logits are made a slab of planes at a
 * time, by whoever needs them: those of the whole volume never exist but where they are asked for.
 */
import type { Planes, Tensor, VolumeTensor } from '../../gpu/plan.ts';
import { biasSum, type Input } from '../../ops/common.ts';
import { conv1BackwardInput, conv1Forward, conv1WeightSum } from '../../ops/conv1.ts';
import {
  argmax,
  lossBackward,
  lossFinalize,
  lossForward,
  lossValues,
  type LossShape,
} from '../../ops/loss.ts';
import { regionLabels, regionLossBackward, regionLossForward } from '../../ops/region-loss.ts';
import { copy } from '../../ops/sum.ts';
import type { Graph, Layer, Node, NodeRecording } from '../graph.ts';

/** What a loss is computed from besides logits, and where it goes. */
export interface Truth {
  readonly labels: VolumeTensor;
  readonly classWeights: Tensor;
  /** Labels of each head where these decide on regions; see `regionTable`. */
  readonly regions?: Tensor | undefined;
  readonly results: Tensor;
  readonly lossScale: Tensor;
}

/** Of the logits that the loss or labels are made of, there are at most this many bytes at a time, or one plane. */
const slabBytes = 32 * 2 ** 20;

export interface HeadRecording extends NodeRecording {
  /** Logits of the whole volume, or of these planes, into `target`. */
  logits(target: VolumeTensor, planes?: Planes): void;
  /** What the logits are a linear map of, voxel by voxel, into `target`; absent where the head has no weights. */
  features?(target: VolumeTensor, planes?: Planes): void;
  /** The class of each voxel into `target`, or the label of the regions found there. */
  labels(target: VolumeTensor, regions?: Tensor): void;
  /** Loss and Dice per class into the truth's `results`; the backward pass begins with its gradient. */
  loss(truth: Truth, shape: LossShape): void;
}

/** What a topology gives. */
export interface Network {
  readonly graph: Graph;
  /**
   * Those whose loss counts: the finest first, coarser ones with deep supervision. Behind the last of them the graph has
   * only heads that nothing is computed from.
   */
  readonly heads: readonly Node<HeadRecording>[];
}

export const head = (classes: number): Layer<HeadRecording> => ({
  operation: { kind: 'conv', kernel: [1, 1, 1], stride: [1, 1, 1] },
  shape: ([first]) => ({ ...first!, channels: classes }),
  parameters([first]) {
    const init = { fanIn: first!.channels };
    return [
      { name: 'weight', shape: [classes, first!.channels, 1, 1, 1], init },
      { name: 'bias', shape: [classes], init },
    ];
  },
  at(context, { name, inputs: [input] }) {
    const { recorder } = context;
    const [weights, bias] = [context.parameter(`${name}.weight`), context.parameter(`${name}.bias`)];
    let supervised: { readonly truth: Truth; readonly coefficients: Tensor } | undefined;

    /** Ranges of planes whose logits are made at a time. */
    const slabs = ({ tensor: { planeBytes, channels, planes } }: Input): [number, number][] => {
      const budget = Math.min(slabBytes, recorder.limits.maxBindingBytes);
      const most = Math.max(1, Math.floor(budget / ((planeBytes / channels) * classes)));
      return Array.from({ length: Math.ceil(planes / most) }, (_, i) => [
        i * most,
        Math.min(planes, (i + 1) * most),
      ]);
    };
    const slab = (features: Input, range: Planes): VolumeTensor => {
      const { batch, size } = features.tensor;
      const logits = recorder.slab('logits', { batch, channels: classes, size }, range);
      conv1Forward(recorder, name, { input: features, weights, bias, target: logits }, { planes: range });
      return logits;
    };

    return {
      logits(target, planes) {
        conv1Forward(recorder, name, { input: context.read(input!), weights, bias, target }, { planes });
      },
      features(target, planes) {
        copy(recorder, `${name} features`, context.read(input!), target, planes);
      },
      labels(target, regions) {
        const features = context.read(input!);
        for (const range of slabs(features)) {
          const logits = slab(features, range);
          if (regions) regionLabels(recorder, 'regions', { logits, labels: target, regions }, range);
          else argmax(recorder, 'argmax', logits, target, range);
        }
      },
      loss(truth, shape) {
        const { labels, classWeights, regions, results, lossScale } = truth;
        const features = context.read(input!);
        const { batch, planes, size } = features.tensor;
        const partials = recorder.flat('loss.partials', planes * lossValues(classes));
        for (const range of slabs(features)) {
          const logits = slab(features, range);
          if (regions) regionLossForward(recorder, 'loss', { logits, labels, regions, partials }, range);
          else lossForward(recorder, 'loss', { logits, labels, classWeights, partials }, range);
        }
        const samples = { samples: batch, depth: size[2] };
        const coefficients = lossFinalize(
          recorder,
          'loss',
          { partials, classWeights, results, lossScale },
          samples,
          shape,
        );
        supervised = { truth, coefficients };
      },
      lossGradient(target, add) {
        const {
          truth: { labels, classWeights, regions },
          coefficients,
        } = supervised!;
        const features = context.read(input!);
        const weightSum = conv1WeightSum(recorder, `${name} dW`, features, classes);
        const sumOfBias = biasSum(recorder, `${name} db`, classes, features.tensor.planes);
        for (const range of slabs(features)) {
          const logits = slab(features, range);
          if (regions)
            regionLossBackward(recorder, 'loss backward', { logits, labels, regions, coefficients }, range);
          else lossBackward(recorder, 'loss backward', { logits, labels, classWeights, coefficients }, range);
          weightSum.add(logits, ...range);
          sumOfBias.add(logits, ...range);
          const tensors = { dOutput: logits, weights, dInput: target };
          conv1BackwardInput(recorder, `${name} dX`, tensors, { planes: range, add });
        }
        weightSum.finish(context.gradient(`${name}.weight`));
        sumOfBias.finish(context.gradient(`${name}.bias`));
      },
    };
  },
});
