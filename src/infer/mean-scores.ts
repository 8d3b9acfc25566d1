/** Scores of the mean of several networks. */
import type { LabelledCase } from '../data/labelled-case.ts';
import { postprocessed } from '../metrics/components.ts';
import { scoredDice } from '../metrics/region-dice.ts';
import { meanDefined } from '../metrics/dice.ts';
import type { CaseScore } from './evaluator.ts';
import { segmentLabels } from './labels.ts';
import type { Model } from './model.ts';
import type { Segmenter } from './predict.ts';
import { mirroredAsTrained } from './probabilities.ts';
import { Predictor, type EvaluateOptions } from './predictor.ts';

/** One of the networks, whose weights `prepare` writes. */
export interface ScoredMember {
  readonly model: Model;
  readonly prepare: () => Promise<void>;
}

/**
 * As `Predictor.evaluate`, of labels by the mean of the logits; the loss is the mean of the networks' own.
 * @param mean gives these logits
 * @throws as that
 */
export async function evaluateMean(
  mean: Segmenter,
  members: readonly ScoredMember[],
  cases: readonly LabelledCase[],
  given: EvaluateOptions,
): Promise<CaseScore[]> {
  const options = mirroredAsTrained(given, mean.description);
  const own: CaseScore[][] = [];
  for (const { model, prepare } of members) {
    await prepare();
    const predictor = new Predictor(model);
    try {
      own.push(await predictor.evaluate(cases, { ...options, mirrorAxes: [], postprocess: false }));
    } finally {
      predictor.release();
    }
  }
  const { postprocess = true } = options;
  const { postprocessing, regions } = mean.description;
  const heads = { classes: mean.config.classes, regions };
  const scores: CaseScore[] = [];
  for (const [index, item] of cases.entries()) {
    const found = await segmentLabels(mean.planes, item, heads, options);
    const predicted = postprocess ? postprocessed(found, item.shape, postprocessing, regions) : found;
    const losses = own.map((scored) => scored[index]!.loss);
    scores.push({
      id: item.id,
      loss: meanDefined(losses),
      dice: scoredDice(predicted, item.label, heads),
      predicted,
    });
  }
  return scores;
}
