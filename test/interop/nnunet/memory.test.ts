/** Bytes that are there at one time while an image of many classes is segmented, against the plan. */
import { expect, test } from 'vitest';
import { writeNifti } from '../../../src/data/nifti.ts';
import { linearHead } from '../../../src/interop/nnunet/pipeline/head.ts';
import { readImage } from '../../../src/interop/nnunet/pipeline/image.ts';
import { planSegmentation } from '../../../src/interop/nnunet/pipeline/memory.ts';
import { segmentAsNnunet } from '../../../src/interop/nnunet/pipeline/segment.ts';
import type { NnunetPlans } from '../../../src/interop/nnunet/plans.ts';
import type { Size3 } from '../../../src/size.ts';
import { heldBytes } from '../../support/memory.node.ts';

/** 512 x 512 x 600 voxels with windows of 128³, an eighth as long along each axis. */
const size: Size3 = [64, 64, 75];
const spacing: Size3 = [0.98, 0.98, 1];
const patch = 16;
const classes = 118;
const channels = 32;

const spline = { method: 'spline', order: 3, lowResolutionOrder: 0, apart: undefined } as const;
const linear = { ...spline, order: 1 } as const;
const plans: NnunetPlans = {
  dataset: 'Dataset001_Test',
  name: 'nnUNetPlans',
  reader: 'SimpleITKIO',
  transpose: [0, 1, 2],
  configurations: ['3d_fullres'],
  configuration: {
    name: '3d_fullres',
    patch: [patch, patch, patch],
    spacing: [1.5, 1.5, 1.5],
    batchSize: 2,
    normalization: [{ scheme: 'NoNormalization' }],
    resampling: { data: spline, probabilities: linear, labels: { how: linear, winner: 'half' } },
    network: undefined as never,
    previousStage: undefined,
    batchDice: false,
  },
};
const heads = Array.from({ length: classes }, (_, written) => ({
  name: `${written}`,
  labels: [written],
  written,
}));
const labels = { channels: ['CT'], fileEnding: '.nii', heads, regions: false, ignore: undefined };

test('no more than is planned, and far less than the stack of logits', async () => {
  const affine = [...spacing, 1].flatMap((mm, row) =>
    [0, 1, 2, 3].map((column) => (column === row ? mm : 0)),
  );
  const data = Float32Array.from({ length: 64 * 64 * 75 }, (_, i) => 1 + (i % 7));
  const file = await writeNifti({ data, shape: size, affine });
  const last = linearHead(
    Float32Array.from({ length: classes * channels }, (_, i) => Math.sin(i)),
    new Float32Array(classes),
  );
  const planes = Float32Array.from({ length: channels * patch ** 3 }, (_, i) => Math.cos(i));
  let [before, most, calls] = [0, 0, 0];
  const network = {
    channels,
    run(_: Float32Array, take: (planes: Float32Array) => void) {
      take(planes);
      return Promise.resolve();
    },
    head(features: Float32Array) {
      const logits = last(features);
      // Where most is there: the sums, the plane before, and this one.
      if (calls++ % 20 === 10) most = Math.max(most, heldBytes() - before);
      return logits;
    },
  };
  const plan = (logitBytes: number) =>
    planSegmentation({ plans, labels }, { size, spacing }, { kind: 'features', channels }, { logitBytes });
  for (const logitBytes of [2 ** 30, plan(2 ** 30).logitBytes / 2]) {
    const image = await readImage([file], plans);
    [before, most, calls] = [heldBytes() - 4 * data.length, 0, 0];
    await segmentAsNnunet({ plans, labels, mirrorAxes: [] }, image, [network], { logitBytes });
    const planned = plan(logitBytes);
    const bytes = planned.inputBytes + planned.logitBytes + planned.labelBytes;
    expect(most).toBeLessThan(bytes + planned.readBytes);
    // It is no idle plan.
    expect(most).toBeGreaterThan(0.5 * bytes);
    expect(most).toBeLessThan((4 * classes * data.length) / 10);
  }
});
