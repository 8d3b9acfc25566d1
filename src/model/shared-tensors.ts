/** What the plans of a model share: the tensors that keep their values from one run to the next, in words of 32 bits. */
import { lossScaleWords, stepWords, updateWords } from '../ops/optimizer.ts';
import { regionWords } from '../ops/region-loss.ts';
import type { UNet3DConfig } from './config.ts';
import type { ParameterLayout } from './parameters.ts';

/** Words that the loss leaves in `results`: loss, Dice part, cross-entropy part, then Dice per class. */
export const resultWords = (classes: number): number => 3 + classes;

/** Words of every shared tensor of a model by name. */
export function sharedWords(config: UNet3DConfig, layout: ParameterLayout): Record<string, number> {
  const { parameterWords, statisticsWords } = layout;
  return {
    parameters: parameterWords,
    statistics: statisticsWords,
    gradients: parameterWords,
    'optimizer.first': parameterWords,
    'optimizer.second': parameterWords,
    step: stepWords,
    update: updateWords,
    lossScale: lossScaleWords,
    accumulated: parameterWords,
    'average.parameters': parameterWords,
    'average.statistics': statisticsWords,
    'moved.statistics': statisticsWords,
    results: resultWords(config.classes),
    classWeights: 2 * config.classes,
    regions: regionWords * config.classes,
  };
}
