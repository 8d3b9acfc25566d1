/** What a training here takes over of a model of nnU-Net's besides its weights: how cases are prepared. */
import type { Normalization } from '../../data/normalize.ts';
import type { Preprocessing } from '../../data/preprocessing.ts';
import { InvalidModel } from '../../errors.ts';
import { assertOptions } from '../../options.ts';
import { withParts } from '../../schema.ts';
import type { NnunetNormalization, NnunetPlans } from './plans.ts';

const entries = {
  plans: withParts('the plans of a model as openNnunet gives it', 'configuration', 'transpose'),
};

/**
 * nnU-Net's preparation in this package's words: the same crop, normalisation and spacing; axes are canonical and
 * resampling is trilinear instead.
 * @throws InvalidModel for plans that turn the axes, and for a normalisation that this package does not have
 */
export function preprocessingFor(plans: NnunetPlans): Preprocessing {
  assertOptions('preprocessingFor', entries, { plans });
  const { configuration, transpose } = plans;
  if (transpose.join() !== '0,1,2')
    throw new InvalidModel(
      `plans.json turns the axes (transpose_forward [${transpose.join(', ')}]), and trainings here do not: its weights would see other axes than they learnt; go on with it in nnU-Net`,
    );
  const [d0, d1, d2] = configuration.spacing;
  return {
    orientation: 'RAS',
    crop: 'non-zero',
    spacing: [d2, d1, d0],
    normalization: configuration.normalization.map(normalizationFor),
    padding: 'zeros at the far end',
  };
}

function normalizationFor(given: NnunetNormalization): Normalization {
  if (given.scheme === 'CTNormalization') {
    const { clip, mean, deviation } = given;
    return { clip, mean, deviation };
  }
  if (given.scheme === 'ZScoreNormalization') return given.masked ? 'z-score inside' : 'z-score';
  if (given.scheme === 'RescaleTo01Normalization') return 'min-max';
  if (given.scheme === 'NoNormalization') return 'none';
  throw new InvalidModel(
    `plans.json has ${given.scheme}, which trainings here do not have; go on with it in nnU-Net`,
  );
}
