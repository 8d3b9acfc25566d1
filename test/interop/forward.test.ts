/**
 * Networks of nnU-Net with the weights of its own files: logits of all heads, gradients of all parameters and of the
 * input, as nnU-Net's code computes them in float64.
 */
import { expect, test } from 'vitest';
import { toTheirs, weightsOf } from '../../src/interop/mapping.ts';
import { openNnunet } from '../../src/interop/nnunet/folder.ts';
import { nnunetMapping } from '../../src/interop/nnunet/weights.ts';
import { interopFolder, nnunetFixture, nnunetFolders } from '../support/interop.ts';
import { expectForward } from '../support/network.ts';

const names = typeof window === 'undefined' ? nnunetFolders : ['plain-regions', 'totalsegmentator'];

for (const name of names)
  test(`nnunet-${name}`, async ({ skip }) => {
    const found = await nnunetFixture(name);
    if (!found) return skip(`${interopFolder} is not there`);
    const { config, folds } = await openNnunet(found.files);
    const weights = await weightsOf(config, folds[0]!.weights);
    expect.hasAssertions();
    await expectForward(found, config, weights, (ours) => toTheirs(nnunetMapping(config), ours));
  });
