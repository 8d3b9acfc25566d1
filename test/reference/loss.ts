/**
 * Softmax with weighted soft Dice, Σ_c w_c (1 − D_c) with D_c = (2Σpg + s)/(Σp + Σg + s), and weighted
 * cross-entropy, Σ w(−log p)/Σ w, with their gradient, in float64. Labels outside the classes are ignored.
 */
import { dense, type Dense } from '../support/dense.ts';

export interface LossOptions {
  /** Factors of the two parts. */
  readonly dice: number;
  readonly crossEntropy: number;
  readonly diceWeights: ArrayLike<number>;
  readonly entropyWeights: ArrayLike<number>;
  readonly smooth: number;
  /** Sums over the whole batch instead of per sample. */
  readonly batchDice: boolean;
  /** −D_c in place of 1 − D_c. */
  readonly negativeDice?: boolean | undefined;
}

export function softmax(logits: Dense): Dense {
  const [batch, classes] = logits.shape;
  const size = logits.data.length / batch / classes;
  const p = dense(logits.shape);
  for (let n = 0; n < batch; n++)
    for (let i = 0; i < size; i++) {
      const at = (c: number) => (n * classes + c) * size + i;
      let top = -Infinity;
      for (let c = 0; c < classes; c++) top = Math.max(top, logits.data[at(c)]!);
      let total = 0;
      for (let c = 0; c < classes; c++) total += Math.exp(logits.data[at(c)]! - top);
      for (let c = 0; c < classes; c++) p.data[at(c)] = Math.exp(logits.data[at(c)]! - top) / total;
    }
  return p;
}

/** labels [n][z][y][x]. */
export function loss(logits: Dense, labels: ArrayLike<number>, options: LossOptions) {
  const [batch, classes] = logits.shape;
  const size = logits.data.length / batch / classes;
  const p = softmax(logits);
  const samples = Array.from({ length: batch }, (_, n) => n);
  const groups = options.batchDice ? [samples] : samples.map((n) => [n]);
  const dp = new Float64Array(p.data.length); // dL/dp
  const counts = (n: number, i: number) => labels[n * size + i]! < classes;

  let dice = 0;
  const scores = new Float64Array(classes);
  for (const group of groups)
    for (let c = 0; c < classes; c++) {
      let overlap = 0;
      let both = 0;
      for (const n of group)
        for (let i = 0; i < size; i++) {
          if (!counts(n, i)) continue;
          const truth = labels[n * size + i] === c ? 1 : 0;
          overlap += p.data[(n * classes + c) * size + i]! * truth;
          both += p.data[(n * classes + c) * size + i]! + truth;
        }
      const numerator = 2 * overlap + options.smooth;
      const denominator = both + options.smooth;
      const weight = options.diceWeights[c]! / groups.length;
      scores[c]! += numerator / denominator / groups.length;
      dice += weight * ((options.negativeDice ? 0 : 1) - numerator / denominator);
      for (const n of group)
        for (let i = 0; i < size; i++) {
          if (!counts(n, i)) continue;
          const truth = labels[n * size + i] === c ? 1 : 0;
          const slope = (2 * truth * denominator - numerator) / denominator ** 2;
          dp[(n * classes + c) * size + i]! -= options.dice * weight * slope;
        }
    }

  let entropy = 0;
  let weights = 0;
  for (const n of samples)
    for (let i = 0; i < size; i++)
      if (counts(n, i)) weights += options.entropyWeights[labels[n * size + i]!]!;
  for (const n of samples)
    for (let i = 0; i < size; i++) {
      if (!counts(n, i)) continue;
      const label = labels[n * size + i]!;
      const at = (n * classes + label) * size + i;
      const weight = options.entropyWeights[label]! / weights;
      entropy -= weight * Math.log(p.data[at]!);
      dp[at]! -= (options.crossEntropy * weight) / p.data[at]!;
    }

  // Through the softmax: dL/dz_c = p_c (dL/dp_c − Σ_k p_k dL/dp_k).
  const dLogits = dense(logits.shape);
  for (const n of samples)
    for (let i = 0; i < size; i++) {
      const at = (c: number) => (n * classes + c) * size + i;
      let mean = 0;
      for (let c = 0; c < classes; c++) mean += p.data[at(c)]! * dp[at(c)]!;
      for (let c = 0; c < classes; c++) dLogits.data[at(c)] = p.data[at(c)]! * (dp[at(c)]! - mean);
    }
  return { loss: options.dice * dice + options.crossEntropy * entropy, dice, entropy, scores, dLogits };
}
