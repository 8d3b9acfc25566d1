/** Several networks as one: folds by nnU-Net's rules, and networks of this package by its own. */
import { afterAll, describe, expect, test } from 'vitest';
import '../../src/data/source.node.ts';
import { readNifti, writeNifti } from '../../src/data/nifti.ts';
import { Ensemble } from '../../src/ensemble.ts';
import { defaultPreprocessing } from '../../src/data/preprocessing.ts';
import { argmax, softmax } from '../../src/infer/probabilities.ts';
import { InvalidModel, InvalidOption } from '../../src/errors.ts';
import { convertNnunet } from '../../src/interop/nnunet/convert.ts';
import { openNnunet } from '../../src/interop/nnunet/folder.ts';
import { UNet3D } from '../../src/unet3d.ts';
import { openModel, readModel, writeModel } from '../../src/weights/model-file.ts';
import { testDevice } from '../support/device.ts';
import { interopFolder, nnunetFixture } from '../support/interop.ts';

const { device } = await testDevice();

describe('nnU-Net', async () => {
  const found = await nnunetFixture('totalsegmentator');
  if (!found) return test('its folds', ({ skip }) => skip(`${interopFolder} is not there`));
  const image = `${found.folder}/case/images/case_0000.nii.gz`;
  const expected = await readNifti(`${found.folder}/case/segmentation.nii.gz`);

  test('a folder, and its fold as a model file, give nnU-Net’s labels', async () => {
    using ensemble = await Ensemble.open(found.files, { device });
    expect([ensemble.members, ensemble.config.inChannels]).toEqual([['0'], 1]);
    const options = { overlap: 0.2, tta: false };
    const { labels } = await ensemble.predict(image, options);
    expect(Array.from(labels.data)).toEqual(Array.from(expected.data));

    const bytes = await convertNnunet(await openNnunet(found.files));
    using model = await UNet3D.load(bytes, { device });
    expect(model.description).toMatchObject(ensemble.description);
    expect((await model.predict(image, options)).labels).toEqual(labels);
    // Saved again it follows the same rules.
    const { description } = await openModel(await model.save());
    expect([description.format, description.nnunet]).toEqual([6, ensemble.description.nnunet]);
    await expect(ensemble.evaluate([])).rejects.toThrow(/predict the files/);
    const ownRules = /this network follows nnU-Net's rules, by which `predict` prepares volumes itself/;
    await expect(model.evaluate([])).rejects.toThrow(ownRules);
    await expect(model.choosePostprocessing([])).rejects.toThrow(ownRules);
    await expect(model.fit([])).rejects.toThrow(ownRules);
    const refused = (more: object) => model.predict(image, { ...options, ...more });
    await expect(refused({ window: [8, 8, 8] })).rejects.toThrow(InvalidOption);
    const stage = ensemble.predict(image, { ...options, previousStage: image });
    await expect(stage).rejects.toThrow(/has no previous stage/);
  });

  test('regions that write labels beyond a byte', async () => {
    const regions = (await nnunetFixture('plain-regions'))!;
    const described = (text: string): Uint8Array<ArrayBuffer> => {
      const labels = { background: 0, whole: [1, 2, 300], core: [2, 300], enhancing: 300, ignore: 301 };
      const more = { labels, regions_class_order: [1, 2, 300] };
      return new TextEncoder().encode(JSON.stringify({ ...(JSON.parse(text) as object), ...more }));
    };
    const files = regions.files.map((file) => {
      if (!file.path.endsWith('dataset.json')) return file;
      return { ...file, source: described(new TextDecoder().decode(file.source as Uint8Array)) };
    });
    const images = [0, 1].map((channel) => `${regions.folder}/case/images/case_000${channel}.nii.gz`);
    const { data } = await readNifti(`${regions.folder}/case/segmentation.nii.gz`);
    const wanted = Uint16Array.from(data, (label) => (label === 3 ? 300 : label));
    expect(wanted).toContain(300);
    using ensemble = await Ensemble.open(files, { device });
    using model = await UNet3D.load(await convertNnunet(await openNnunet(files)), { device });
    for (const network of [ensemble, model]) {
      const found = await network.predict(images, { output: 'probabilities', uncertainty: true });
      expect(found.labels.data).toEqual(wanted);
      // Of each region by itself the entropy in bits, 1 where the network cannot tell.
      const bits = (p: number) => (p > 0 ? -p * Math.log2(p) : 0);
      const each = found.probabilities!.data;
      const mean = each.reduce((sum, p) => sum + bits(p) + bits(1 - p), 0) / each.length;
      expect(found.uncertainty!.mean).toBeCloseTo(mean, 5);
    }
  });

  test('plans of another network than the file’s are refused', async () => {
    const model = await openNnunet(found.files);
    const other = (await nnunetFixture('plain-iso'))!;
    const { origin } = await openNnunet(other.files, { folds: ['0'] });
    await expect(UNet3D.load(await convertNnunet({ ...model, origin }), { device })).rejects.toThrow(
      /carries nnU-Net's plans of another network/,
    );
    await expect(convertNnunet(model, '3')).rejects.toThrow(/fold is 3; give one .*"0"/);
  });
});

describe('networks of this package', () => {
  const options = { inChannels: 1, classes: 2, features: [2, 3], device };
  const shape = [6, 4, 4];
  const affine = [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1];
  const data = Float32Array.from({ length: 96 }, (_, i) => Math.sin(i));
  const models = [1, 2].map((seed) => UNet3D.create({ ...options, seed }));
  afterAll(async () => (await Promise.all(models)).forEach((model) => model.dispose()));

  test('the mean of their logits', async () => {
    const image = await writeNifti({ data, shape, affine });
    const [a, b] = (await Promise.all(models)) as [UNet3D, UNet3D];
    const files = [
      { path: 'a/model.safetensors', source: await a.save() },
      { path: 'b/model.safetensors', source: await b.save() },
    ];
    using ensemble = await Ensemble.open(files, { device });
    expect(ensemble.members).toEqual(['a/model.safetensors', 'b/model.safetensors']);
    const output = { output: 'logits' } as const;
    const alone = [
      (await a.predict(image, output)).logits!.data,
      (await b.predict(image, output)).logits!.data,
    ];
    const mean = alone[0]!.map((value, at) => (value + alone[1]![at]!) / 2);
    const [first, second] = await Promise.all([
      ensemble.predict(image, output),
      ensemble.predict(image, output),
    ]);
    expect(first.logits!.data.every((value, at) => Math.abs(value - mean[at]!) < 1e-6)).toBe(true);
    expect(second).toEqual(first);
    expect(first.logits!.data.join()).not.toBe(alone[0]!.join());

    const { description, weights } = await readModel(await b.save());
    weights.parameters[0] = NaN;
    const broken = { path: 'b/model.safetensors', source: await writeModel(description, weights) };
    using partly = await Ensemble.open([files[0]!, broken], { device });
    await expect(partly.predict(image)).rejects.toThrow(
      /^b\/model\.safetensors: tensor encoder\.0\.conv1\.weight holds NaN/,
    );
  });

  test('labels come plane by plane and are those of all logits there at once, to the bit', async () => {
    const size = [11, 9, 7];
    const values = Float32Array.from({ length: 693 }, (_, i) => Math.sin(i * i));
    const image = await writeNifti({ data: values, shape: size, affine });
    const [a, b] = (await Promise.all(models)) as [UNet3D, UNet3D];
    const files = [
      { path: 'a.safetensors', source: await a.save() },
      { path: 'b.safetensors', source: await b.save() },
    ];
    using ensemble = await Ensemble.open(files, { device });
    for (const window of [
      [4, 4, 4],
      [12, 10, 8],
    ] as const) {
      const raw = (model: UNet3D) => model.predict(image, { window, output: 'logits' });
      const [first, second] = [(await raw(a)).logits!.data, (await raw(b)).logits!.data];
      const mean = first.map((value, at) => value + second[at]!).map((value) => value / 2);
      const seen: number[] = [];
      const { labels } = await ensemble.predict(image, {
        window,
        onProgress: ({ loaded, total }) => seen.push(loaded, total),
      });
      expect(Array.from(labels.data)).toEqual(Array.from(argmax(softmax(mean, 2), 2)));
      expect(new Set(labels.data).size).toBe(2);
      // 5 x 4 x 3 windows of 4 voxels half over each other, of two networks.
      expect(seen.slice(-2)).toEqual(window[0] === 4 ? [120, 120] : [2, 2]);
    }

    using other = await UNet3D.create({ ...options, classes: 5, norm: 'instance', seed: 3 });
    other.describe({ preprocessing: { ...defaultPreprocessing(1), spacing: [1.3, 2.5, 2] } });
    const window = [8, 4, 4] as const;
    for (const how of [{ window }, { window, mirrorAxes: ['z'] }] as const) {
      const { labels } = await other.predict(image, how);
      const whole = await other.predict(image, { ...how, output: 'probabilities' });
      expect(labels).toEqual(whole.labels);
      expect(new Set(labels.data).size).toBeGreaterThan(1);
    }
  });

  test('options that are of no use to the files are refused', async () => {
    const source = new Uint8Array(8);
    const open = (paths: readonly string[], given: object) =>
      Ensemble.open(
        paths.map((path) => ({ path, source })),
        given,
      );
    const plain = ['a.safetensors', 'b.safetensors'];
    const folds = ['cv/fold_0/model.safetensors', 'cv/fold_1/model.safetensors'];
    for (const [paths, given, message] of [
      [
        plain,
        { folds: ['0'] },
        /folds does nothing here: these are neither folds .* files that are meant; leave it out/,
      ],
      [plain, { checkpoint: 'checkpoint_best.pth' }, /checkpoint does nothing here: these are neither/],
      [folds, { folds: ['0'], folder: 'cv/' }, /folder does nothing here: these are folds of a training/],
      [folds, { configuration: '3d_fullres' }, /configuration does nothing here/],
      [folds, { folds: [] }, /folds is \[\]; give a list of one fold or more/],
      [folds, { folds: ['7'] }, /fold 7 is missing/],
    ] as const)
      await expect(open(paths, given)).rejects.toThrow(message);
    await expect(open(plain, { folds: ['0'] })).rejects.toThrow(InvalidOption);
  });

  test('are cleaned as each of them is, and where they differ that is said', async () => {
    const [a, b] = (await Promise.all(models)) as [UNet3D, UNet3D];
    const saved = async (model: UNet3D, largestComponent: number[]) => {
      model.describe({ postprocessing: { largestComponent } });
      const bytes = await model.save();
      model.describe({ postprocessing: undefined });
      return bytes;
    };
    const first = await saved(a, [1]);
    const noise = Float32Array.from({ length: 693 }, (_, i) => Math.sin(i * i));
    const image = await writeNifti({ data: noise, shape: [11, 9, 7], affine });
    const segmented = async (...sources: Uint8Array<ArrayBuffer>[]) => {
      using ensemble = await Ensemble.open(
        sources.map((source, index) => ({ path: `${index}.safetensors`, source })),
        { device },
      );
      const { labels, warnings } = await ensemble.predict(image);
      return { labels: labels.data, warnings, cleaning: ensemble.description.postprocessing };
    };
    using alone = await UNet3D.load(first, { device });
    const { labels } = await alone.predict(image);
    expect(await segmented(first)).toEqual({
      labels: labels.data,
      warnings: (await alone.predict(image)).warnings,
      cleaning: { largestComponent: [1] },
    });
    expect((await segmented(first, await saved(b, [1]))).cleaning).toEqual({ largestComponent: [1] });
    const differ = await segmented(first, await saved(b, []));
    expect(differ.cleaning).toBeUndefined();
    expect(differ.warnings).toContain('The networks do not agree on post-processing, and none is done.');
  });

  test('are scored as one, like one network', async () => {
    const [a, b] = (await Promise.all(models)) as [UNet3D, UNet3D];
    const saved = [await a.save(), await b.save()];
    const files = saved.map((source, index) => ({ path: `${index}.safetensors`, source }));
    const label = Uint8Array.from(data, (value) => (value > 0 ? 1 : 0));
    const volume = { image: data, shape: [6, 4, 4], channels: 1, spacing: [2, 2, 2] } as const;
    const cases = [
      { id: 'one', ...volume, label },
      { id: 'two', ...volume, label: label.toReversed() },
    ];
    using alone = await Ensemble.open(files.slice(0, 1), { device });
    expect(await alone.evaluate(cases, { tta: true })).toEqual(await a.evaluate(cases, { tta: true }));

    using ensemble = await Ensemble.open(files, { device });
    const scores = await ensemble.evaluate(cases);
    const [first, second] = [await a.evaluate(cases), await b.evaluate(cases)];
    const logits = [await a.logits(volume), await b.logits(volume)];
    const mean = logits[0]!.map((value, at) => value + logits[1]![at]!).map((value) => value / 2);
    const predicted = argmax(softmax(mean, 2), 2);
    for (const [index, { id, loss, dice, predicted: found }] of scores.entries()) {
      expect(id).toBe(cases[index]!.id);
      expect(loss).toBeCloseTo((first[index]!.loss + second[index]!.loss) / 2, 6);
      expect(found).toEqual(predicted);
      const truth = cases[index]!.label;
      for (const value of [0, 1]) {
        const count = (where: (voxel: number) => boolean) => [...predicted.keys()].filter(where).length;
        const both = count((voxel) => predicted[voxel] === value && truth[voxel] === value);
        const either = count((v) => predicted[v] === value) + count((v) => truth[v] === value);
        expect(dice[value]).toBeCloseTo((2 * both) / either, 6);
      }
    }
    const unknown = { ...cases[0]!, label: label.map(() => 7) };
    await expect(ensemble.evaluate([unknown])).rejects.toThrow(/Case "one"/);
  });

  test('that are of different kinds are refused', async () => {
    const [a] = (await Promise.all(models)) as [UNet3D];
    using other = await UNet3D.create({ ...options, features: [2, 4] });
    const files = [
      { path: 'a.safetensors', source: await a.save() },
      { path: 'b.safetensors', source: await other.save() },
    ];
    await expect(Ensemble.open(files, { device })).rejects.toThrow(
      /b\.safetensors and a\.safetensors differ in more than their weights/,
    );
    await expect(Ensemble.open([], { device })).rejects.toThrow(InvalidModel);
  });
});
