/**
 * A U-Net of two levels on one sample, its loss and the gradients of all its parameters, in float64: the ops of this
 * folder, one after the other and back. Strided on the way down, instance norms, rectifiers with a slope.
 */
import type { Size3 } from '../../src/size.ts';
import type { Dense } from '../support/dense.ts';
import { channels, concatenate } from './activate.ts';
import { conv, convGradients } from './conv.ts';
import { conv1, conv1Gradients } from './conv1.ts';
import { loss, type LossOptions } from './loss.ts';
import { norm, normGradients, type NormOptions } from './norm.ts';
import { sum } from './sum.ts';
import { upconv, upconvGradients } from './upconv.ts';

/** Parameters, or their gradients, by name. */
export type Named = Map<string, Float64Array>;

export interface Given {
  readonly image: Dense;
  /** [z][y][x]. */
  readonly labels: ArrayLike<number>;
  readonly loss: LossOptions;
  readonly norm: NormOptions;
  /** Sees what each norm is to read before it does, and may set its parameters. */
  readonly before?: (norm: string, read: Dense) => void;
}

export function twoLevels(parameters: Named, { image, labels, before, ...options }: Given) {
  const gradients: Named = new Map();
  const ofVolumes = new Map<Dense, Dense>();
  const back: (() => void)[] = [];
  const parameter = (name: string): Float64Array => parameters.get(name)!;
  const add = (volume: Dense, d: Dense): void => {
    const others = ofVolumes.get(volume);
    ofVolumes.set(volume, others ? sum(others, d) : d);
  };

  /** An op with weights and a bias; going back, its gradients, of which that of the input is added to others. */
  const weighted = (
    name: string,
    input: Dense,
    forward: (weights: Float64Array, bias: Float64Array) => Dense,
    backward: (
      weights: Float64Array,
      d: Dense,
    ) => { dInput: Dense; dWeights: Float64Array; dBias: Float64Array },
  ): Dense => {
    const weights = parameter(`${name}.weight`);
    const output = forward(weights, parameter(`${name}.bias`));
    back.push(() => {
      const { dInput, dWeights, dBias } = backward(weights, ofVolumes.get(output)!);
      add(input, dInput);
      gradients.set(`${name}.weight`, dWeights).set(`${name}.bias`, dBias);
    });
    return output;
  };

  const block = (level: string, number: 1 | 2, input: Dense, stride: Size3 = [1, 1, 1]): Dense => {
    const shape = { kernel: [3, 3, 3], stride } as const;
    const y = weighted(
      `${level}.conv${number}`,
      input,
      (weights, bias) => conv(input, weights, bias, bias.length, shape),
      (weights, d) => convGradients(input, weights, d, shape),
    );
    const name = `${level}.norm${number}`;
    before?.(name, y);
    const [gamma, beta] = [parameter(`${name}.weight`), parameter(`${name}.bias`)];
    const output = norm(y, gamma, beta, options.norm);
    back.push(() => {
      const { dInput, dGamma, dBeta } = normGradients(y, gamma, beta, ofVolumes.get(output)!, options.norm);
      add(y, dInput);
      gradients.set(`${name}.weight`, dGamma).set(`${name}.bias`, dBeta);
    });
    return output;
  };

  const skip = block('encoder.0', 2, block('encoder.0', 1, image));
  const low = block('encoder.1', 2, block('encoder.1', 1, skip, [2, 2, 2]));
  const up = weighted(
    'decoder.0.up',
    low,
    (weights, bias) => upconv(low, weights, bias),
    (weights, d) => upconvGradients(low, weights, d),
  );
  const both = concatenate(skip, up);
  back.push(() => {
    const d = ofVolumes.get(both)!;
    add(skip, channels(d, 0, skip.shape[1]));
    add(up, channels(d, skip.shape[1], both.shape[1]));
  });
  const last = block('decoder.0', 2, block('decoder.0', 1, both));
  const logits = weighted(
    'head',
    last,
    (weights, bias) => conv1(last, weights, bias),
    (weights, d) => conv1Gradients(last, weights, d),
  );
  const found = loss(logits, labels, options.loss);
  add(logits, found.dLogits);
  for (const step of back.toReversed()) step();
  return { loss: found.loss, gradients };
}
