/**
 * `predict` with cascades of nnU-Net: the first network is one whose labels test/interop/nnunet/segment holds to nnU-Net's,
 * the second one with random weights by the same plans. What runs by itself gives what the two give by hand.
 */
import { readFileSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { filesIn } from '../../src/data/dataset.node.ts';
import { readNifti, writeNifti } from '../../src/data/nifti.ts';
import { openEnsembleFolder } from '../../src/ensemble.node.ts';
import { Aborted } from '../../src/errors.ts';
import { openNnunet } from '../../src/interop/nnunet/folder.ts';
import { NnunetPredictor } from '../../src/interop/nnunet/pipeline/predictor.ts';
import { cascade, cascadeImages, hasCascade, ofFirst, ofSecond, type Cascade } from '../support/cascade.ts';
import { testDevice } from '../support/device.ts';
import { zipOf } from '../support/zip.ts';
import { cli, temporaryFolder } from './support.ts';

describe.skipIf(!hasCascade)('a cascade', () => {
  let folder: string;
  /** Of the second network. */
  let second: string;
  /** Labels of the first one, made by itself. */
  let before: string;
  let parts: Cascade['parts'];

  beforeAll(async () => {
    folder = await temporaryFolder();
    const made = await cascade();
    ({ parts } = made);
    for (const { path, content } of parts) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await writeFile(join(folder, path), content);
    }
    second = join(folder, made.second);
    before = join(await temporaryFolder(), 'before.nii.gz');
    await writeFile(before, (await labelsOf(second.replace(ofSecond, ofFirst))).bytes!);
  });

  const labelsOf = async (model: string, ...options: readonly string[]) => {
    const out = join(await temporaryFolder(), 'labels.nii.gz');
    const ran = await cli(['predict', model, ...cascadeImages, '--out', out, '--no-mirror', ...options]);
    const bytes = ran.exitCode === 0 ? readFileSync(out) : undefined;
    return { ...ran, bytes, labels: bytes && (await readNifti(bytes)).data };
  };

  test('the first network runs first: from the folder of both, a zip of it, or beside the second', async () => {
    const byHand = await labelsOf(second, '--previous-stage', before);
    expect([byHand.exitCode, byHand.err]).toEqual([0, expect.stringContaining(ofSecond)]);
    expect(byHand.err).not.toContain(ofFirst);
    const archive = join(folder, 'both.zip');
    await writeFile(archive, await zipOf(parts));
    for (const model of [folder, archive, second]) {
      const ran = await labelsOf(model);
      expect([ran.exitCode, ran.err]).toEqual([
        0,
        expect.stringMatching(/, 3d_lowres by .*\n.*, 3d_cascade_fullres by /),
      ]);
      expect(ran.labels, model).toEqual(byHand.labels);
    }
    // It is the previous labels that decide here.
    const { header, shape, affine, data } = await readNifti(before);
    const none = join(folder, 'none.nii.gz');
    await writeFile(none, await writeNifti({ data: new Uint8Array(data.length), shape, affine, header }));
    expect((await labelsOf(second, '--previous-stage', none)).labels).not.toEqual(byHand.labels);
    // Nor are probabilities taken for labels, of one class or of all.
    const unsure = join(folder, 'unsure.nii.gz');
    for (const [heads, message] of [
      [1, /unsure\.nii\.gz holds 0\.5, which is no label of this model \(0, 1/],
      [2, /unsure\.nii\.gz has the shape .* x 2; give the labels that the previous stage made/],
    ] as const) {
      const values = new Float32Array(heads * data.length).fill(0.5);
      const stacked = heads === 1 ? shape : [...shape, heads];
      await writeFile(unsure, await writeNifti({ data: values, shape: stacked, affine }));
      const { exitCode, err } = await labelsOf(second, '--previous-stage', unsure);
      expect([exitCode, err]).toEqual([1, expect.stringMatching(message)]);
    }
  });

  test('where the first network is stopped, its plan is freed all the same', async () => {
    const { device } = await testDevice();
    let bytes = 0;
    const createBuffer = device.createBuffer.bind(device);
    device.createBuffer = (descriptor) => {
      const buffer = createBuffer(descriptor);
      bytes += buffer.size;
      const destroy = buffer.destroy.bind(buffer);
      buffer.destroy = () => {
        bytes -= buffer.size;
        destroy();
      };
      return buffer;
    };
    onTestFinished(() => void (device.createBuffer = createBuffer));
    const files = parts.map(({ path, content }) => ({ path, source: Uint8Array.from(content) }));
    using predictor = await NnunetPredictor.load(files, { device });
    const stopped = async (by: NnunetPredictor): Promise<number> => {
      const abort = new AbortController();
      const options = { mirror: false, signal: abort.signal, onProgress: () => abort.abort() };
      await expect(by.predict(cascadeImages, options)).rejects.toThrow(Aborted);
      return bytes;
    };
    // By itself it keeps its plan for the next volume.
    const kept = await stopped(predictor.previous!);
    expect(await stopped(predictor)).toBeLessThan(kept);
  });

  test('a fold that the first network lacks is told with its folder', async () => {
    const files = parts.map(({ path, content }) => ({ path, source: Uint8Array.from(content) }));
    const { path, source } = files.find((file) => /3d_cascade_fullres\/fold_\d\//.test(file.path))!;
    const more = { path: path.replace(/fold_\d/, 'fold_7'), source };
    await expect(openNnunet([...files, more], { folds: ['7'] })).rejects.toThrow(
      /^fold 7 of .*__3d_lowres with its checkpoint_final\.pth is missing/,
    );
  });

  test('without the first network, what to give is said before a GPU is looked for', async () => {
    const alone = join(await temporaryFolder(), basename(second));
    const prefix = `${dirname(parts.at(-1)!.path).split('/').slice(0, 2).join('/')}/`;
    for (const { path, content } of parts.filter((part) => part.path.startsWith(prefix))) {
      const target = join(alone, path.slice(prefix.length));
      await mkdir(dirname(target), { recursive: true });
      await writeFile(target, content);
    }
    const { exitCode, err } = await labelsOf(alone);
    expect(exitCode).toBe(1);
    expect(err).toMatch(
      /second network of a cascade and takes the labels of "3d_lowres": give --previous-stage/,
    );
    expect(err).not.toContain('GPU');
    // A model that is no cascade has no place for them.
    const first = second.replace(ofSecond, ofFirst);
    expect((await labelsOf(first, '--previous-stage', before)).err).toMatch(/has no previous stage/);
  });

  test('labels of several volumes lie in a folder, named as these', async () => {
    const several = join(await temporaryFolder(), 'several');
    await mkdir(several);
    await writeFile(join(several, 'case.nii.gz'), readFileSync(before));
    const found = await labelsOf(second, '--previous-stage', several);
    expect(found.labels).toEqual((await labelsOf(second, '--previous-stage', before)).labels);
    await rm(join(several, 'case.nii.gz'));
    const { exitCode, err } = await labelsOf(second, '--previous-stage', several);
    expect([exitCode, err]).toEqual([2, expect.stringMatching(/has no case\.nii\.gz: give labels for each/)]);
  });

  test('in code, of files and of volumes in memory; progress goes up to the end', async () => {
    const { device } = await testDevice();
    const byHand = await labelsOf(second, '--previous-stage', before);
    using predictor = await NnunetPredictor.load((await filesIn(folder)).files, { device });
    const told: number[] = [];
    const found = await predictor.predict(cascadeImages, {
      mirror: false,
      onProgress: ({ loaded, total }) => told.push(loaded / total),
    });
    expect(Float32Array.from(found.labels.data)).toEqual(byHand.labels);
    expect(told.at(-1)).toBe(1);
    expect(told).toEqual(told.toSorted((a, b) => a - b));
    const volumes = await Promise.all(cascadeImages.map((name) => readNifti(name)));
    expect((await predictor.segment(cascadeImages, volumes, { mirror: false })).labels).toEqual(found.labels);
    using ensemble = await openEnsembleFolder(folder, { device });
    const given = await ensemble.predict(cascadeImages, { previousStage: before, tta: false });
    expect([(await ensemble.predict(cascadeImages, { tta: false })).labels, given.labels]).toEqual([
      found.labels,
      found.labels,
    ]);
  });
});
