/**
 * The U-Net as dispatches. Only convolution outputs and statistics are kept between forward and
 * backward: norm and activation are applied by whoever reads a volume, the skip half of a decoder's
 * input is read in place, and the first convolution, the up-convolutions and the logits are computed
 * again where the backward pass needs them; with checkpointing the first convolution of every block and
 * the pooled volumes are too. Gradients overwrite volumes that are no longer needed.
 */
import type { Recorder, Size3, Tensor, View, VolumeTensor } from '../gpu/plan.ts';
import { biasGradient, biasSum, type Input } from '../ops/common.ts';
import { conv1BackwardInput, conv1Forward, conv1WeightSum } from '../ops/conv1.ts';
import { conv3BackwardInput, conv3BackwardWeight, conv3Forward } from '../ops/conv3.ts';
import { argmax, lossBackward, lossFinalize, lossForward, lossValues, type LossShape } from '../ops/loss.ts';
import { normBackward, normForward, normInference, type NormResult, type NormState } from '../ops/norm.ts';
import { halveLabels, poolBackward, poolForward, pooledSize } from '../ops/pool.ts';
import { upconvBackwardInput, upconvBackwardWeight, upconvForward } from '../ops/upconv.ts';
import {
  activationSlope,
  headName,
  supervisedLevels,
  supervisionWeights,
  type UNet3DConfig,
} from './config.ts';
import { viewOf, viewOfPair, type ParameterLayout } from './parameters.ts';

/** Tensors that belong to the model and outlive any plan. */
export interface ModelTensors {
  readonly parameters: Tensor;
  readonly statistics: Tensor;
}

/** A convolution's output with what its norm made of it. */
interface Normed {
  readonly y: VolumeTensor;
  /** Of training; absent at inference. */
  readonly norm?: NormResult | undefined;
  readonly input: Input;
}

interface Block {
  readonly first: Normed;
  readonly second: Normed;
}

/** Epsilon and momentum of the norms: PyTorch's defaults. */
const epsilon = 1e-5;
const momentum = 0.1;

/** Logits are made in slabs of planes of at most this many bytes (or one plane). */
const logitsBudget = 32 * 2 ** 20;

export class Network {
  readonly #slope: number;
  readonly #levels: number;

  constructor(
    readonly recorder: Recorder,
    readonly config: UNet3DConfig,
    readonly layout: ParameterLayout,
    readonly model: ModelTensors,
    readonly options: { readonly training: boolean; readonly checkpointing: boolean },
  ) {
    this.#slope = activationSlope(config);
    this.#levels = config.features.length;
  }

  #parameter(name: string): View {
    return viewOf(this.model.parameters, this.layout.parameters.get(name)!);
  }

  #gradient(gradients: Tensor, name: string): View {
    return viewOf(gradients, this.layout.parameters.get(name)!);
  }

  #pair(tensor: Tensor, name: string) {
    const { parameters } = this.layout;
    return viewOfPair(tensor, parameters.get(`${name}.weight`)!, parameters.get(`${name}.bias`)!);
  }

  #normState(name: string): NormState {
    const { view: weightBias, secondOffset: biasOffset } = this.#pair(this.model.parameters, name);
    const kind = this.config.norm;
    const statistics = this.layout.statistics;
    const running =
      kind === 'batch'
        ? viewOfPair(
            this.model.statistics,
            statistics.get(`${name}.running_mean`)!,
            statistics.get(`${name}.running_var`)!,
          )
        : { view: { tensor: this.model.statistics, offset: 0, size: 256 }, secondOffset: 0 };
    return {
      kind,
      weightBias,
      biasOffset,
      running: running.view,
      varianceOffset: running.secondOffset,
      epsilon,
      momentum,
    };
  }

  #normed(name: string, y: VolumeTensor): Normed {
    const state = this.#normState(name);
    if (this.options.training || state.kind === 'instance') {
      const norm = normForward(this.recorder, name, y, state);
      return { y, norm, input: { tensor: y, affine: norm.affine, slope: this.#slope } };
    }
    const affine = normInference(this.recorder, name, y.batch, y.channels, state);
    return { y, input: { tensor: y, affine, slope: this.#slope } };
  }

  #conv(name: string, inputs: readonly [Input, Input?], channels: number): VolumeTensor {
    const { batch, size } = inputs[0].tensor;
    const y = this.recorder.volume(name, batch, channels, size);
    conv3Forward(
      this.recorder,
      name,
      inputs,
      this.#parameter(`${name}.weight`),
      this.#parameter(`${name}.bias`),
      y,
    );
    return y;
  }

  #block(prefix: string, inputs: readonly [Input, Input?], channels: number): Block {
    const first = this.#normed(`${prefix}.norm1`, this.#conv(`${prefix}.conv1`, inputs, channels));
    const second = this.#normed(`${prefix}.norm2`, this.#conv(`${prefix}.conv2`, [first.input], channels));
    return { first, second };
  }

  #pool(level: number, above: Input): VolumeTensor {
    const { batch, channels, size } = above.tensor;
    const p = this.recorder.volume(`encoder.${level}.pool`, batch, channels, pooledSize(size));
    poolForward(this.recorder, `encoder.${level}.pool`, above, p);
    return p;
  }

  #up(level: number, below: Input): VolumeTensor {
    const { batch, size } = below.tensor;
    const doubled: Size3 = [size[0] * 2, size[1] * 2, size[2] * 2];
    const name = `decoder.${level}.up`;
    const u = this.recorder.volume(name, batch, this.config.features[level]!, doubled);
    upconvForward(
      this.recorder,
      name,
      below,
      this.#parameter(`${name}.weight`),
      this.#parameter(`${name}.bias`),
      u,
    );
    return u;
  }

  /** From the image to the volume in front of the head, with everything the backward pass reads again. */
  forward(image: VolumeTensor): ForwardPass {
    const { features } = this.config;
    const encoder: Block[] = [];
    const pooled: VolumeTensor[] = [];
    for (let level = 0; level < this.#levels; level++) {
      let input: Input = { tensor: image };
      if (level > 0) {
        const tensor = this.#pool(level, encoder[level - 1]!.second.input);
        pooled[level] = tensor;
        input = { tensor };
      }
      encoder.push(this.#block(`encoder.${level}`, [input], features[level]!));
    }
    const decoder: Block[] = [];
    let below = encoder.at(-1).second.input;
    for (let level = this.#levels - 2; level >= 0; level--) {
      const u = this.#up(level, below);
      decoder[level] = this.#block(
        `decoder.${level}`,
        [encoder[level]!.second.input, { tensor: u }],
        features[level]!,
      );
      below = decoder[level]!.second.input;
    }
    return { image, encoder, pooled, decoder, features: below };
  }

  /** Ranges of planes whose logits are made at a time. */
  #logitSlabs(features: VolumeTensor): [number, number][] {
    const planeBytes = (features.planeBytes / features.channels) * this.config.classes;
    const budget = Math.min(logitsBudget, this.recorder.limits.maxBindingBytes);
    const most = Math.max(1, Math.floor(budget / planeBytes));
    const slabs: [number, number][] = [];
    for (let from = 0; from < features.planes; from += most)
      slabs.push([from, Math.min(features.planes, from + most)]);
    return slabs;
  }

  /** Logits of planes [from, to) into `target`, which stores at least these. */
  #logits(name: string, features: Input, target: VolumeTensor, planes: readonly [number, number]): void {
    const [weight, bias] = [this.#parameter(`${name}.weight`), this.#parameter(`${name}.bias`)];
    conv1Forward(this.recorder, name, features, weight, bias, target, { planes });
  }

  #logitSlab(features: VolumeTensor, range: readonly [number, number]): VolumeTensor {
    return this.recorder.volume(
      'logits',
      features.batch,
      this.config.classes,
      features.size,
      'transient',
      range,
    );
  }

  /** Logits for the whole volume into `target`, of the finest output unless another head is named. */
  logits({ features }: Pick<ForwardPass, 'features'>, target: VolumeTensor, head = headName(0)): void {
    this.#logits(head, features, target, [0, target.planes]);
  }

  /** The class of each voxel into `target`. */
  labels({ features }: ForwardPass, target: VolumeTensor): void {
    for (const range of this.#logitSlabs(features.tensor)) {
      const slab = this.#logitSlab(features.tensor, range);
      this.#logits(headName(0), features, slab, range);
      argmax(this.recorder, 'argmax', slab, target, range);
    }
  }

  /**
   * Loss and the finest output's per-class Dice into `results`; gives what the gradient needs of each output:
   * one, or with deep supervision one per level.
   */
  loss(
    pass: ForwardPass,
    labels: VolumeTensor,
    classWeights: Tensor,
    { results, lossScale }: { results: Tensor; lossScale: Tensor },
    shape: LossShape,
  ): Supervised[] {
    const levels = this.options.training ? supervisedLevels(this.config) : [0];
    const weights = supervisionWeights(levels.length);
    let truth = labels;
    return levels.map((level) => {
      const name = headName(level);
      const features = level === 0 ? pass.features : pass.decoder[level]!.second.input;
      const { tensor } = features;
      if (level > 0) {
        const halved = this.recorder.labels(`labels.${level}`, tensor.batch, tensor.size);
        halveLabels(this.recorder, halved.name, truth, halved);
        truth = halved;
      }
      const partials = this.recorder.flat('loss.partials', tensor.planes * lossValues(shape.classes));
      for (const range of this.#logitSlabs(tensor)) {
        const slab = this.#logitSlab(tensor, range);
        this.#logits(name, features, slab, range);
        lossForward(this.recorder, 'loss', slab, truth, classWeights, partials, range);
      }
      const samples = { samples: tensor.batch, depth: tensor.size[2] };
      const weight = weights[level]!;
      const weighted = {
        ...shape,
        dice: weight * shape.dice,
        crossEntropy: weight * shape.crossEntropy,
        add: level > 0,
      };
      const coefficients = lossFinalize(
        this.recorder,
        'loss',
        partials,
        classWeights,
        results,
        lossScale,
        samples,
        weighted,
      );
      return { name, features, labels: truth, coefficients };
    });
  }

  /** All parameter gradients, assigned; volumes of the forward pass are overwritten on the way. */
  backward(pass: ForwardPass, outputs: readonly Supervised[], classWeights: Tensor, gradients: Tensor): void {
    const { encoder, decoder, pooled } = pass;
    const { features } = this.config;
    const { checkpointing } = this.options;
    const dDecoder: VolumeTensor[] = [];
    let d = this.#like('head.d', pass.features.tensor, pass.features.tensor.channels);
    this.#headBackward(outputs[0]!, classWeights, gradients, d);

    for (let level = 0; level < this.#levels - 1; level++) {
      const prefix = `decoder.${level}`;
      const block = decoder[level]!;
      const below = (level + 1 < this.#levels - 1 ? decoder[level + 1] : encoder.at(-1))!.second.input;
      const channels = features[level]!;
      const skip = encoder[level]!.second.input;
      const inputs = (): [Input, Input] => [skip, { tensor: this.#up(level, below) }];
      const dFirst = this.#blockBackward(prefix, block, d, gradients, checkpointing ? inputs : undefined);
      dDecoder[level] = dFirst;

      const weights = this.#parameter(`${prefix}.conv1.weight`);
      const dWeights = this.#gradient(gradients, `${prefix}.conv1.weight`);
      conv3BackwardWeight(this.recorder, `${prefix}.conv1 dW skip`, skip, dFirst, dWeights, {
        inChannels: 2 * channels,
        first: 0,
      });
      const [, up] = inputs();
      conv3BackwardWeight(this.recorder, `${prefix}.conv1 dW up`, up, dFirst, dWeights, {
        inChannels: 2 * channels,
        first: channels,
      });

      const dUp = this.#like(`${prefix}.up.d`, dFirst, channels);
      conv3BackwardInput(this.recorder, `${prefix}.conv1 dX up`, dFirst, weights, dUp, {
        inChannels: 2 * channels,
        first: channels,
      });
      const name = `${prefix}.up`;
      upconvBackwardWeight(
        this.recorder,
        `${name} dW`,
        below,
        dUp,
        this.#gradient(gradients, `${name}.weight`),
      );
      biasGradient(this.recorder, `${name} db`, dUp, this.#gradient(gradients, `${name}.bias`));
      d = this.#like(`${name}.below.d`, below.tensor, below.tensor.channels);
      upconvBackwardInput(this.recorder, `${name} dX`, dUp, this.#parameter(`${name}.weight`), d);
      const coarser = outputs[level + 1];
      if (coarser) this.#headBackward(coarser, classWeights, gradients, d, true);
    }

    for (let level = this.#levels - 1; level >= 0; level--) {
      const prefix = `encoder.${level}`;
      const block = encoder[level]!;
      if (level < this.#levels - 1) {
        // The skip's share of the gradient, put off until here, then the pool's on top.
        const dSkip = this.#like(`${prefix}.d`, block.second.y, features[level]!);
        const weights = this.#parameter(`decoder.${level}.conv1.weight`);
        conv3BackwardInput(
          this.recorder,
          `decoder.${level}.conv1 dX skip`,
          dDecoder[level]!,
          weights,
          dSkip,
          {
            inChannels: 2 * features[level]!,
            first: 0,
          },
        );
        poolBackward(this.recorder, `encoder.${level + 1}.pool dX`, block.second.input, d, dSkip);
        d = dSkip;
      }
      let input = level === 0 ? pass.image : pooled[level]!;
      const inputs = (): [Input] => {
        if (level > 0) input = this.#pool(level, encoder[level - 1]!.second.input);
        return [{ tensor: input }];
      };
      const again = checkpointing || level === 0 ? inputs : undefined;
      const dFirst = this.#blockBackward(prefix, block, d, gradients, again);
      const dWeights = this.#gradient(gradients, `${prefix}.conv1.weight`);
      conv3BackwardWeight(this.recorder, `${prefix}.conv1 dW`, { tensor: input }, dFirst, dWeights);
      if (level > 0) {
        d = this.#like(`${prefix}.pool.d`, input, input.channels);
        conv3BackwardInput(
          this.recorder,
          `${prefix}.conv1 dX`,
          dFirst,
          this.#parameter(`${prefix}.conv1.weight`),
          d,
        );
      }
    }
  }

  #like(name: string, { batch, size }: VolumeTensor, channels: number): VolumeTensor {
    return this.recorder.volume(name, batch, channels, size);
  }

  /**
   * Back through conv – norm – activation twice; gives the gradient of the first convolution's output,
   * which takes its place. With `inputs`, that output is computed again from them; its statistics are known.
   */
  #blockBackward(
    prefix: string,
    { first, second }: Block,
    d: VolumeTensor,
    gradients: Tensor,
    inputs?: () => readonly [Input, Input?],
  ): VolumeTensor {
    this.#normBackward(`${prefix}.norm2`, second, d, gradients);
    if (inputs) {
      const y = this.#conv(`${prefix}.conv1`, inputs(), first.y.channels);
      first = { y, norm: first.norm, input: { ...first.input, tensor: y } };
    }
    const weights = this.#parameter(`${prefix}.conv2.weight`);
    const dWeights = this.#gradient(gradients, `${prefix}.conv2.weight`);
    conv3BackwardWeight(this.recorder, `${prefix}.conv2 dW`, first.input, second.y, dWeights);
    const dFirst = this.#like(`${prefix}.conv2.d`, first.y, first.y.channels);
    conv3BackwardInput(this.recorder, `${prefix}.conv2 dX`, second.y, weights, dFirst);
    this.#normBackward(`${prefix}.norm1`, first, dFirst, gradients);
    return first.y;
  }

  #normBackward(name: string, { y, norm }: Normed, d: VolumeTensor, gradients: Tensor): void {
    const { view, secondOffset } = this.#pair(gradients, name);
    const state = { kind: this.config.norm, biasOffset: secondOffset };
    normBackward(this.recorder, `${name} backward`, y, d, norm!, state, this.#slope, view);
  }

  /** The gradient of one output into `d`, or with `add` on top of it. */
  #headBackward(
    { name, features, labels, coefficients }: Supervised,
    classWeights: Tensor,
    gradients: Tensor,
    d: VolumeTensor,
    add = false,
  ): void {
    const { tensor } = features;
    const weightSum = conv1WeightSum(this.recorder, `${name} dW`, features, this.config.classes);
    const sumOfBias = biasSum(this.recorder, `${name} db`, this.config.classes, tensor.planes);
    for (const range of this.#logitSlabs(tensor)) {
      const slab = this.#logitSlab(tensor, range);
      this.#logits(name, features, slab, range);
      lossBackward(this.recorder, 'loss backward', slab, labels, classWeights, coefficients, range);
      weightSum.add(slab, ...range);
      sumOfBias.add(slab, ...range);
      const weight = this.#parameter(`${name}.weight`);
      conv1BackwardInput(this.recorder, `${name} dX`, slab, weight, d, { planes: range, add });
    }
    weightSum.finish(this.#gradient(gradients, `${name}.weight`));
    sumOfBias.finish(this.#gradient(gradients, `${name}.bias`));
  }
}

/** An output with its truth and the coefficients that turn its logits into their gradient. */
export interface Supervised {
  readonly name: string;
  /** The volume in front of its head. */
  readonly features: Input;
  readonly labels: VolumeTensor;
  readonly coefficients: Tensor;
}

/** What `forward` leaves for `loss`, `logits`, `labels` and `backward`. */
export interface ForwardPass {
  readonly image: VolumeTensor;
  readonly encoder: readonly Block[];
  readonly pooled: readonly VolumeTensor[];
  readonly decoder: readonly Block[];
  /** The volume in front of the head. */
  readonly features: Input;
}
