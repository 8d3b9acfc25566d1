/**
 * The end of a network whose last layer gives the logits itself: a head without weights. They are stored whole, as
 * every other volume.
 */
import { InvalidOption } from '../../errors.ts';
import type { Tensor } from '../../gpu/plan.ts';
import { argmax, lossBackward, lossFinalize, lossForward, lossValues } from '../../ops/loss.ts';
import { regionLabels, regionLossBackward, regionLossForward } from '../../ops/region-loss.ts';
import { copy } from '../../ops/sum.ts';
import { assertStored, type Layer } from '../graph.ts';
import type { HeadRecording, Truth } from './head.ts';

export const logits = (classes: number): Layer<HeadRecording> => ({
  shape([first]) {
    if (first!.channels !== classes)
      throw new InvalidOption(`logits of ${classes} classes cannot be ${first!.channels} channels`);
    return first!;
  },
  operation: { kind: 'logits' },
  at(context, { name, inputs: [input] }) {
    assertStored(name, input!);
    const { recorder } = context;
    let supervised: { readonly truth: Truth; readonly coefficients: Tensor } | undefined;
    return {
      logits(target, planes) {
        copy(recorder, name, context.read(input!), target, planes);
      },
      labels(target, regions) {
        const { tensor } = context.read(input!);
        if (regions) regionLabels(recorder, 'regions', { logits: tensor, labels: target, regions });
        else argmax(recorder, 'argmax', tensor, target);
      },
      loss(truth, shape) {
        const { labels, classWeights, regions, results, lossScale } = truth;
        const { tensor } = context.read(input!);
        const partials = recorder.flat('loss.partials', tensor.planes * lossValues(classes));
        if (regions) regionLossForward(recorder, 'loss', { logits: tensor, labels, regions, partials });
        else lossForward(recorder, 'loss', { logits: tensor, labels, classWeights, partials });
        const samples = { samples: tensor.batch, depth: tensor.size[2] };
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
        if (add)
          throw new InvalidOption(
            `${name} cannot add to the gradient of ${input!.name}: let it be the only reader`,
          );
        const {
          truth: { labels, classWeights, regions },
          coefficients,
        } = supervised!;
        copy(recorder, `${name} copy`, context.read(input!), target);
        if (regions)
          regionLossBackward(recorder, 'loss backward', { logits: target, labels, regions, coefficients });
        else lossBackward(recorder, 'loss backward', { logits: target, labels, classWeights, coefficients });
      },
    };
  },
});
