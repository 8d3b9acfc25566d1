/** What a model makes of cases and files: logits, segmentations, scores. Each method takes a turn of the model. */
import type { LabelledCase } from '../data/labelled-case.ts';
import type { Heads } from '../data/regions.ts';
import { Aborted } from '../errors.ts';
import {
  choosePostprocessing,
  chooseRegionPostprocessing,
  componentDice,
  postprocessed,
  type ComponentDice,
  type LabelPair,
  type PostprocessingChoice,
} from '../metrics/components.ts';
import { scoredDice } from '../metrics/region-dice.ts';
import { lossOfHeads, weightedDice, type Loss } from '../model/losses.ts';
import type { Size3 } from '../size.ts';
import { Evaluator, type CaseScore, type DenseCase } from './evaluator.ts';
import { Inference, notFinite, type SegmentOptions } from './inference.ts';
import { proveKernels } from './kernels.ts';
import type { Model } from './model.ts';
import { segmentVolumes, type PredictOptions, type ReadSources, type Segmentation } from './predict.ts';
import { segmentLabels } from './labels.ts';
import {
  mirroredAsTrained,
  mirrorings,
  type MirrorOptions,
  type ProbabilityOptions,
} from './probabilities.ts';
import { tiles } from './window.ts';

/** How cases are scored. */
export interface EvaluateOptions extends MirrorOptions {
  /** Default: weighted Dice with equal weights. */
  readonly loss?: Loss;
  /** Whether labels are cleaned as validation chose it for this model. Default true. */
  readonly postprocess?: boolean;
  /** Looked at between cases and within them; the evaluation then throws `Aborted`. */
  readonly signal?: AbortSignal;
}

/** Keeps the plan of a window on the device from one volume to the next. */
export class Predictor {
  #inference: Inference | undefined;

  constructor(readonly model: Model) {}

  /** Logits [class][z][y][x] of a prepared volume [channel][z][y][x]. */
  readonly logits = (volume: DenseCase, options: SegmentOptions): Promise<Float32Array<ArrayBuffer>> =>
    this.inference.logits(volume, this.model.description, options);

  /** The same as planes [class][y][x] in order, which no other call may come between. */
  readonly #planes = (volume: DenseCase, options: SegmentOptions): AsyncIterable<Float32Array> =>
    this.inference.planes(volume, this.model.description, options);

  /** On the device that the model is on now. */
  get inference(): Inference {
    const { state, budget } = this.model;
    return (this.#inference ??= new Inference(state, budget));
  }

  /** Segments what was read, which is used up. */
  segment(read: ReadSources, options: PredictOptions): Promise<Segmentation> {
    const { state, description } = this.model;
    return segmentVolumes({ config: state.config, description, planes: this.#planes }, read, options);
  }

  /** Loss, Dice and prediction of each case; see `UNet3D.evaluate`. */
  async evaluate(cases: readonly LabelledCase[], given: EvaluateOptions): Promise<CaseScore[]> {
    const { state, description } = this.model;
    const options = mirroredAsTrained(given, description);
    const { loss = weightedDice(), signal } = options;
    const ofHeads = lossOfHeads(loss, description.regions);
    await proveKernels(state);
    const evaluator = new Evaluator(state, ofHeads, { trained: description });
    const scores: CaseScore[] = [];
    try {
      for (const item of cases) {
        if (signal?.aborted)
          throw new Aborted(`evaluation was stopped after ${scores.length} of ${cases.length} cases`);
        scores.push(await this.#score(evaluator, item, options));
      }
    } finally {
      evaluator.dispose();
    }
    return scores;
  }

  async #score(evaluator: Evaluator, item: LabelledCase, options: EvaluateOptions): Promise<CaseScore> {
    const { postprocess = true, signal } = options;
    const { state, budget, description } = this.model;
    const window = evaluator.windowFor(item.shape, budget);
    this.release(); // one plan at a time has the budget
    if (window) evaluator.dispose(); // of a case before
    const { loss, predicted } = await (window
      ? this.#evaluateThrough(window, item, evaluator.loss, signal)
      : evaluator.run(item, signal));
    if (!Number.isFinite(loss)) throw await notFinite(state, item.image);
    const mirrored = mirrorings(options).length > 1;
    if (mirrored) evaluator.dispose();
    const found = mirrored || window ? await this.#labels(item, options) : predicted;
    const { postprocessing, regions } = description;
    const labels = postprocess ? postprocessed(found, item.shape, postprocessing, regions) : found;
    return { id: item.id, loss, dice: scoredDice(labels, item.label, this.#heads), predicted: labels };
  }

  async #evaluateThrough(window: Size3, item: LabelledCase, loss: Loss, signal: AbortSignal | undefined) {
    const evaluator = new Evaluator(this.model.state, loss, { trained: { inputSize: window } });
    try {
      return await evaluator.runThrough(item, tiles(item.shape, window), { signal });
    } finally {
      evaluator.dispose();
    }
  }

  /** For which classes keeping the largest component only is better on these cases. */
  async choosePostprocessing(
    cases: readonly LabelledCase[],
    given: ProbabilityOptions,
  ): Promise<PostprocessingChoice> {
    const options = mirroredAsTrained(given, this.model.description);
    const { classes, regions } = this.#heads;
    if (regions) {
      const found: LabelPair[] = [];
      for (const item of cases)
        found.push({ prediction: await this.#labels(item, options), truth: item.label, shape: item.shape });
      return chooseRegionPostprocessing((look) => found.map(look), regions);
    }
    const scores: ComponentDice[] = [];
    for (const item of cases)
      scores.push(componentDice(await this.#labels(item, options), item.label, item.shape, classes));
    return choosePostprocessing(scores, classes);
  }

  get #heads(): Heads {
    return { classes: this.model.state.config.classes, regions: this.model.description.regions };
  }

  /** Labels of a prepared case as the network gives them, windows and flips included. */
  #labels(item: DenseCase, options: ProbabilityOptions): Promise<Uint8Array<ArrayBuffer>> {
    return segmentLabels(this.#planes, item, this.#heads, options);
  }

  /** Frees what predictions hold on the GPU. */
  release(): void {
    this.#inference?.release();
    this.#inference = undefined;
  }
}
