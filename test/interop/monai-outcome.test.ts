/** What MONAI's bundles make of logits, against numpy and scipy: see test/fixtures/monai/make.py. */
import { readFileSync } from 'node:fs';
import { inflateSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { readNifti, writeNifti } from '../../src/data/nifti.ts';
import { withKept, type KeptComponents } from '../../src/interop/monai/components.ts';
import { openMonai } from '../../src/interop/monai/open.ts';
import { MonaiPredictor } from '../../src/interop/monai/predictor.ts';
import { segmentAsBundle } from '../../src/interop/monai/segment.ts';
import type { Size3 } from '../../src/size.ts';
import { testDevice } from '../support/device.ts';
import { interopFolder, monaiBundle } from '../support/interop.ts';
import { turned } from '../support/network.ts';

interface Given {
  readonly labels?: number[];
  readonly independent?: boolean;
  readonly connectivity?: 1 | 2 | 3;
  readonly count?: number;
}
interface Outcomes {
  readonly components: Record<
    'labels' | 'channels',
    { shape: Size3; data: string; cases: { given: Given; kept: string }[] }
  >;
  readonly bundle: {
    readonly threshold: number;
    readonly nearTies: number;
    readonly byProbability: string;
    readonly largest: string;
    readonly byLabel: string;
    /** Voxels between two that are as near. */
    readonly halfway: string;
  };
}

const { components, bundle } = JSON.parse(
  readFileSync(new URL('../fixtures/monai/outcomes.json', import.meta.url), 'utf8'),
) as Outcomes;

const unpacked = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(inflateSync(Buffer.from(text, 'base64')));

const cases = (['labels', 'channels'] as const).flatMap((kind) =>
  components[kind].cases.map(({ given, kept }) => ({ kind, given, kept })),
);

test.each(cases)('largest components of $kind: $given', ({ kind, given, kept }) => {
  const { data, shape } = components[kind];
  const { connectivity = 3, independent = true, count = 1, labels } = given;
  const step: KeptComponents = { grid: 'image', labels, independent, hops: connectivity, count };
  expect(withKept(unpacked(data), shape, kind === 'labels' ? 1 : 3, step)).toEqual(unpacked(kept));
});

test('of components of one size, the one that begins last along x stays', () => {
  // numpy.argsort of a few sizes is stable, and MONAI takes from its end.
  const step: KeptComponents = { grid: 'image', independent: true, hops: 3, count: 1 };
  const labels = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0);
  expect([...withKept(labels, [6, 1, 2], 1, step)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
});

describe('a bundle whose channels overlap', () => {
  const onehot = (labels: readonly number[]) => ({
    _target_: 'KeepLargestConnectedComponentd',
    applied_labels: labels,
  });
  const sigmoid = { _target_: 'Activationsd', sigmoid: true };
  const threshold = { _target_: 'AsDiscreted', threshold: bundle.threshold };
  const invert = (nearest: boolean) => ({ _target_: 'Invertd', nearest_interp: nearest });

  test.for([
    ['byProbability', [sigmoid, invert(false), threshold]],
    ['largest', [sigmoid, invert(false), threshold, { ...onehot([0, 1]), independent: false }]],
    ['byLabel', [sigmoid, threshold, { ...onehot([0, 1]), connectivity: 1, is_onehot: true }, invert(true)]],
  ] as const)('%s', async ([name, transforms], { skip }) => {
    const found = await monaiBundle(transforms);
    if (!found) return skip(`${interopFolder} is not there`);
    const { files, image: file, floatsAt, fixture } = found;
    const { logits } = fixture.endToEnd;
    const model = await openMonai(files);
    const expected = unpacked(bundle[name]);
    const halfway = unpacked(bundle.halfway);
    const differing = (labels: ArrayLike<number>): number => {
      expect(labels.length).toBe(expected.length);
      return expected.filter(
        (value, at) => value !== labels[at] && !(name === 'byLabel' && halfway[at % halfway.length]),
      ).length;
    };
    // MONAI's own logits.
    const [c, x, y, z] = logits.shape as [number, number, number, number];
    const stored = Float64Array.from(await floatsAt(logits.file));
    const given = Float32Array.from(turned({ shape: [1, c, x, y, z], data: stored }).data);
    const run = () => Promise.resolve(given);
    const windows = { overlap: 0, mode: 'constant', sigma: 1 } as const;
    const source = await readNifti(file);
    const { labels } = await segmentAsBundle(
      source,
      { ...model.pipeline!, windows },
      { inChannels: 1, classes: 2, run },
    );
    expect(differing(labels)).toBe(0);
    // The network's, from file to file.
    const { device } = await testDevice();
    using predictor = await MonaiPredictor.of(model, { device });
    for (const probabilities of [false, true]) {
      const segmentation = await predictor.predict(file, { probabilities });
      const read = await readNifti(await writeNifti(segmentation.labels));
      expect(read.shape).toEqual([...source.shape.slice(0, 3), 2]);
      expect(differing(read.data)).toBeLessThanOrEqual(bundle.nearTies);
    }
  });
});
