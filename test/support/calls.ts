/** Every public call of a model that others may overlap with, each with its result as plain data to compare. */
import { writeNifti } from '../../src/data/nifti.ts';
import { fromArrays } from '../../src/data/prepare.ts';
import { random } from '../../src/data/random.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { crossEntropy } from '../../src/model/losses.ts';
import { initialValues, layoutParameters } from '../../src/model/parameters.ts';
import type { LabelledCase, UNet3D as Local } from '../../src/unet3d.ts';
import { writeModel } from '../../src/weights/model-file.ts';
import type { UNet3D as InWorker } from '../../src/worker/client.ts';

export type Model = Local | InWorker;

export const network = { inChannels: 1, classes: 2, features: [2, 3], seed: 3 };

/** A bright corner in noise. */
function corner(seed: number, dims: readonly [number, number, number]): LabelledCase {
  const source = random(seed, 'corner');
  const [nx, ny] = dims;
  const label = Uint8Array.from({ length: dims[0] * dims[1] * dims[2] }, (_, i) =>
    i % nx < 3 + (seed % 2) && Math.floor(i / nx) % ny < 3 ? 1 : 0,
  );
  const image = Float32Array.from(label, (value) => value + source.normal(0, 0.4));
  return fromArrays(
    `corner${seed}`,
    { data: image, dims: [...dims] },
    { data: label, dims: [...dims] },
  ) as LabelledCase;
}

export const cases = [1, 2, 3].map((seed) => corner(seed, [7, 6, 4])) as [
  LabelledCase,
  LabelledCase,
  LabelledCase,
];
const [first, second, third] = cases;
const smaller = corner(4, [5, 4, 2]);

const affine = [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1];
const files = await Promise.all(cases.map(({ image, shape }) => writeNifti({ data: image, shape, affine })));

const config = completeConfig(network);
const layout = layoutParameters(config);
const otherWeights = await writeModel(
  { config, labels: [], channels: [] },
  {
    parameters: initialValues(layout.parameters, layout.parameterWords, 7),
    statistics: initialValues(layout.statistics, layout.statisticsWords, 7),
  },
);

/**
 * Runs one call of a model.
 * @param begun is called when the call is under way, by those that tell
 */
export type Call = (model: Model, begun: () => void) => Promise<unknown>;

export const calls: Readonly<Record<string, Call>> = {
  logits: (model, begun) => model.logits(first, { onProgress: begun }),
  'logits of another case': (model, begun) => model.logits(second, { onProgress: begun }),
  'logits of another size': (model, begun) => model.logits(smaller, { onProgress: begun }),
  'logits through windows': (model, begun) => model.logits(third, { window: [4, 4, 4], onProgress: begun }),
  predict: async (model, begun) => (await model.predict(files[1]!, { onProgress: begun })).labels.data,
  'predict with flips': async (model, begun) => {
    const options = {
      ...({ mirrorAxes: ['x'], output: 'probabilities', uncertainty: true } as const),
      onProgress: begun,
    };
    const { probabilities, uncertainty } = await model.predict(files[2]!, options);
    return [probabilities!.data, uncertainty];
  },
  evaluate: (model) => model.evaluate([first, second]),
  'evaluate by another loss': (model) => model.evaluate([third], { loss: crossEntropy([0.9, 0.1]) }),
  choosePostprocessing: (model, begun) => model.choosePostprocessing([second, third], { onProgress: begun }),
  describe: async (model) => {
    await model.describe({ labels: ['background', 'corner'], postprocessing: { largestComponent: [1] } });
  },
  takeWeights: (model) => model.takeWeights(otherWeights),
  save: (model) => model.save(),
  fit: async (model, begun) => {
    const { history } = await model.fit([first, second], {
      epochs: 2,
      batchSize: 1,
      validation: [third],
      onEvent: ({ type }) => {
        if (type === 'step') begun();
      },
    });
    return history.map(({ loss, validationLoss, validationDice }) => ({
      loss,
      validationLoss,
      validationDice,
    }));
  },
};

/** How a call follows the one before. */
export type Timing = 'one after another' | 'together' | 'in mid-flight';

/** The results of calls on one model, and what it is afterwards. */
export async function resultsOf(
  model: Model,
  sequence: readonly Call[],
  timing: Timing,
): Promise<readonly unknown[]> {
  const running: Promise<unknown>[] = [];
  for (const call of sequence) {
    let begun = (): void => undefined;
    const underWay = new Promise<void>((resolve) => (begun = resolve));
    const result = call(model, begun);
    running.push(result);
    const tells = call.length > 1;
    // Calls that tell nothing on their way are met after a turn of the event loop.
    const later = tells ? underWay : new Promise((resolve) => setTimeout(resolve));
    if (timing === 'one after another') await result;
    else if (timing === 'in mid-flight') await Promise.race([result, later]);
  }
  return [...(await Promise.all(running)), await model.save(), model.description];
}
