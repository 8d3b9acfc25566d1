/** The planner against the plans of nnU-Net's own ones, for made-up data sets that lie next to the checkout. */
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { alongVolumes, type Axes } from '../../src/interop/nnunet/network.ts';
import { planNnunet } from '../../src/interop/nnunet/planner.ts';
import { readPlans } from '../../src/interop/nnunet/plans.ts';
import prostate from '../fixtures/plans/prostate.json';

const shared = '../shared/data/interop/plans';
const sets = ['hippocampus', 'body-ct-1.5mm', 'prostate', 'abdomen-ct', 'cardiac'];
const planners = {
  plain: 'nnUNetPlans',
  'resenc-m': 'nnUNetResEncUNetMPlans',
  'resenc-l': 'nnUNetResEncUNetLPlans',
};

interface Told {
  spacings: Axes[];
  shapes_after_crop: Axes[];
}

/** As a fingerprint has them, along x, y, z. */
const volumesOf = ({ spacings, shapes_after_crop: shapes }: Told) =>
  spacings.map(([z, y, x], index) => {
    const [depth, height, width] = shapes[index]!;
    return { spacing: [x, y, z] as const, shape: [width, height, depth] as const };
  });

const read = <T>(path: string): T => JSON.parse(readFileSync(path, 'utf8')) as T;

test.each([
  [[1500, 1500, 1], [1, 1, 1], undefined],
  [
    [64, 64, 1],
    [1, 1, 1],
    [1, 1, 5],
  ],
] as const)('single slices stay one voxel thick: %o of %o mm at %o', (shape, spacing, target) => {
  const plan = planNnunet([{ shape, spacing }], { labels: 2, ...(target && { spacing: target }) });
  for (const found of [plan.fullResolution, plan.lowResolution]) {
    if (!found) continue;
    const { patch, medianShape, batchSize } = found;
    for (const length of [...patch, ...medianShape, batchSize]) expect(length).toBeGreaterThanOrEqual(1);
    expect(Math.max(...found.spacing)).toBeLessThan(100);
  }
});

describe.skipIf(!existsSync(shared))("nnU-Net's own plans", () => {
  test.each(
    sets.flatMap((set) => Object.entries(planners).map(([planner, file]) => [set, planner, file] as const)),
  )('%s, %s', (set, planner, file) => {
    const folder = `${shared}/${set}`;
    const text = readFileSync(`${folder}/${file}.json`, 'utf8');
    const dataset = read<{ labels: object }>(`${folder}/dataset.json`);
    const plan = planNnunet(volumesOf(read<Told>(`${folder}/dataset_fingerprint.json`)), {
      labels: Object.keys(dataset.labels).length,
      planner: planner as keyof typeof planners,
    });
    const { transpose, configurations } = readPlans(text, '3d_fullres');
    expect(plan.transpose).toEqual(transpose);
    expect(plan.lowResolution !== undefined).toBe(configurations.includes('3d_lowres'));
    const medians = read<{ configurations: Record<string, { median_image_size_in_voxels: number[] }> }>(
      `${folder}/${file}.json`,
    ).configurations;
    for (const [name, found] of [
      ['3d_fullres', plan.fullResolution],
      ['3d_lowres', plan.lowResolution],
    ] as const) {
      if (!found) continue;
      const { patch, spacing, batchSize, batchDice, network } = readPlans(text, name).configuration;
      found.spacing.forEach((mm, axis) => expect(mm, `${name} spacing`).toBeCloseTo(spacing[axis]!, 9));
      expect(found.medianShape, name).toEqual(medians[name]!.median_image_size_in_voxels);
      expect(found, name).toMatchObject({ patch, batchSize, batchDice, network });
    }
  });
});

test('a data set with slices three times as thick as wide', () => {
  const { fullResolution, lowResolution, transpose } = planNnunet(volumesOf(prostate as unknown as Told), {
    labels: 3,
  });
  const { patch, batchSize, network } = fullResolution;
  expect({ transpose, patch, batchSize, kernels: network.kernels, strides: network.strides }).toEqual(
    prostate.plans,
  );
  expect(lowResolution).toBeUndefined();
});

test('the coarsest axis comes first, wherever it lies, and goes back to where it was', () => {
  const turn = ([x, y, z]: readonly number[]) => [z!, y!, x!] as const;
  const straight = volumesOf(prostate as unknown as Told);
  const turned = straight.map(({ shape, spacing }) => ({ shape: turn(shape), spacing: turn(spacing) }));
  const plan = planNnunet(turned, { labels: 3 });
  expect(plan.transpose).toEqual([2, 0, 1]);
  const { patch, spacing, network } = alongVolumes(plan, plan.fullResolution);
  expect(spacing[0]).toBe(Math.max(...spacing));
  expect(patch[0]).toBe(Math.min(...patch));
  // The network's axes are z, y, x of the volumes.
  expect(network.kernels[0]).toEqual([3, 3, 1]);
  expect(network.strides[1]).toEqual([2, 2, 1]);
});
