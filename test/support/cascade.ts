/**
 * A cascade of nnU-Net in the files of both its networks: the first is a fixture, the second has random weights by the same
 * plans.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { filesIn } from '../../src/data/dataset.node.ts';
import { exportNnunet } from '../../src/export/nnunet.ts';
import { openNnunet } from '../../src/interop/nnunet/folder.ts';
import { descriptionOf, readRules } from '../../src/interop/nnunet/rules.ts';
import { initialValues, layoutParameters } from '../../src/model/parameters.ts';
import { writeModel } from '../../src/weights/model-file.ts';
import { interopFolder } from './interop.ts';

const shared = `${interopFolder}/nnunet-plain-regions`;

/** Configurations of the two networks. */
export const ofFirst = '3d_lowres';
export const ofSecond = '3d_cascade_fullres';

/** Whether its fixture lies beside the checkout. */
export const hasCascade = existsSync(shared);
/** The channels of a case. */
export const cascadeImages = ['0000', '0001'].map(
  (channel) => `${shared}/case/images/case_${channel}.nii.gz`,
);

export interface Cascade {
  readonly parts: readonly { readonly path: string; readonly content: Uint8Array }[];
  /** The folder of the second network within. */
  readonly second: string;
}

export async function cascade(): Promise<Cascade> {
  const { files } = await filesIn(`${shared}/model`);
  const { origin } = await openNnunet(files);
  const own = { ...origin, configuration: ofSecond };
  const rules = readRules(own);
  const { parameters, parameterWords, statisticsWords } = layoutParameters(rules.config);
  const model = await writeModel(descriptionOf(rules, own), {
    parameters: initialValues(parameters, parameterWords, 5),
    statistics: new Float32Array(statisticsWords),
  });
  const made = (await exportNnunet(model)).files;
  const first = files.map(({ path, source }) => ({ path, content: readFileSync(source as string) }));
  return {
    parts: [...first, ...made.map(({ path, source }) => ({ path, content: source }))],
    second: dirname(made[0]!.path),
  };
}
