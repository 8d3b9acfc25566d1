/**
 * Soft Dice Σ_c w_c (z − D_c), z being 1 or 0, and the sum of binary cross-entropies over the heads, averaged over voxels,
 * of sigmoids that each decide on a region, with their gradient, in float64. Voxels of label 255 are ignored.
 */
import { dense, type Dense } from '../support/dense.ts';
import type { LossOptions } from './loss.ts';

export function regionLoss(
  logits: Dense,
  labels: ArrayLike<number>,
  regions: readonly (readonly number[])[],
  options: Omit<LossOptions, 'entropyWeights'>,
) {
  const [batch, heads] = logits.shape;
  const size = logits.data.length / batch / heads;
  const voxels = Array.from({ length: batch * size }, (_, i) => i).filter((i) => labels[i] !== 255);
  const place = (head: number, voxel: number) =>
    (Math.floor(voxel / size) * heads + head) * size + (voxel % size);
  const p = (head: number, voxel: number) => 1 / (1 + Math.exp(-logits.data[place(head, voxel)]!));
  const g = (head: number, voxel: number) => (regions[head]!.includes(labels[voxel]!) ? 1 : 0);
  const samples = Array.from({ length: batch }, (_, n) => n);
  const groups = options.batchDice ? [samples] : samples.map((n) => [n]);
  const dLogits = dense(logits.shape);
  const scores = new Float64Array(heads);
  let [dice, entropy] = [0, 0];
  for (let head = 0; head < heads; head++) {
    for (const group of groups) {
      const own = voxels.filter((voxel) => group.includes(Math.floor(voxel / size)));
      const sum = (of: (voxel: number) => number) => own.reduce((total, voxel) => total + of(voxel), 0);
      const numerator = 2 * sum((voxel) => p(head, voxel) * g(head, voxel)) + options.smooth;
      const denominator = sum((voxel) => p(head, voxel) + g(head, voxel)) + options.smooth;
      const weight = options.diceWeights[head]! / groups.length;
      scores[head]! += numerator / denominator / groups.length;
      dice += weight * ((options.negativeDice ? 0 : 1) - numerator / denominator);
      for (const voxel of own) {
        const q = p(head, voxel);
        const slope = (2 * g(head, voxel) * denominator - numerator) / denominator ** 2;
        dLogits.data[place(head, voxel)]! -= options.dice * weight * slope * q * (1 - q);
      }
    }
    for (const voxel of voxels) {
      const [q, truth] = [p(head, voxel), g(head, voxel)];
      entropy -= Math.log(truth ? q : 1 - q) / voxels.length;
      dLogits.data[place(head, voxel)]! += (options.crossEntropy * (q - truth)) / voxels.length;
    }
  }
  return { loss: options.dice * dice + options.crossEntropy * entropy, dice, entropy, scores, dLogits };
}
