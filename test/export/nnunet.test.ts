/** Model folders of nnU-Net: the files of its own again, bit by bit and as PyTorch reads them; and models of this package, which openNnunet reads. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { InvalidModel } from '../../src/errors.ts';
import { exportNnunet } from '../../src/export/nnunet.ts';
import { convertNnunet } from '../../src/interop/nnunet/convert.ts';
import { openNnunet } from '../../src/interop/nnunet/folder.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { initialValues, layoutParameters } from '../../src/model/parameters.ts';
import { readModel, writeModel, type NnunetOrigin } from '../../src/weights/model-file.ts';
import { readStateDict } from '../../src/weights/pytorch/state-dict.ts';
import { interopFolder, nnunetFixture, nnunetFolders } from '../support/interop.ts';
import { runPython, withoutPytorch } from '../support/python.ts';
import { temporaryFolder } from '../support/temporary.node.ts';
import { modelBytes } from './networks.ts';

test.for(nnunetFolders)('there and back: nnunet-%s', async (name, { skip }) => {
  const found = await nnunetFixture(name);
  if (!found) return skip(`${interopFolder} is not there`);
  const opened = await openNnunet(found.files);
  const { files, warnings } = await exportNnunet(await convertNnunet(opened, opened.folds[0]!.name));
  expect(warnings).toEqual([]);
  const { model, stateDict } = found.fixture;
  const folder = model.replace(/^model\//, '');
  expect(files.map(({ path }) => path)).toEqual(
    ['plans.json', 'dataset.json', 'fold_0/checkpoint_final.pth'].map((path) => `${folder}/${path}`),
  );
  for (const at of [0, 1]) expect(files[at]!.source).toEqual(found.files[at]!.source);
  const [saved, original] = [files[2]!, found.files[2]!].map(({ source, path }) =>
    readStateDict(source, path),
  );
  const [ours, theirs] = [await saved!, await original!];
  expect([...ours].map(([key, { shape }]) => [key, shape])).toEqual(Object.entries(stateDict));
  const stored = new Set<unknown>();
  for (const [key, tensor] of ours) {
    stored.add(tensor.storage);
    const [here, there] = [await tensor.read(), await theirs.get(key)!.read()];
    expect(Buffer.from(here.buffer).equals(Buffer.from(there.buffer)), key).toBe(true);
  }
  expect(stored.size).toBe(found.fixture.canonicalNames.length);
  const again = await openNnunet(files);
  expect([again.trainer, again.mirrorAxes]).toEqual([opened.trainer, opened.mirrorAxes]);
});

test('torch.load gives what nnU-Net saved: weights and aliases, plans, the fold and mirrored axes', async ({
  skip,
}) => {
  if (withoutPytorch !== undefined) skip(withoutPytorch);
  if (!(await nnunetFixture('plain-iso'))) return skip(`${interopFolder} is not there`);
  const folder = await temporaryFolder();
  for (const name of nnunetFolders) {
    const opened = await openNnunet((await nnunetFixture(name))!.files);
    const fold = opened.folds.at(-1)!.name;
    const { files } = await exportNnunet(await convertNnunet(opened, fold), { fold });
    await writeFile(join(folder, `${name}.pth`), files[2]!.source);
  }
  const program = `
import glob, sys, torch
safe = int(torch.__version__.split(".")[0]) > 1  # PyTorch 1.13 takes a plain float for unsafe
for name in sys.argv[3:]:
    [*_, original] = sorted(glob.glob(f"{sys.argv[2]}/nnunet-{name}/model/*/*/fold_*/checkpoint_final.pth"))
    ours = torch.load(f"{sys.argv[1]}/{name}.pth", map_location="cpu", weights_only=safe)
    theirs = torch.load(original, map_location="cpu", weights_only=False)  # which has numbers of numpy
    a, b = ours["network_weights"], theirs["network_weights"]
    assert list(a) == list(b) and all(torch.equal(a[key], b[key]) for key in b), name
    shared = [len({tensor.data_ptr() for tensor in weights.values()}) for weights in (a, b)]
    assert shared[0] == shared[1], shared
    assert list(ours) == list(theirs), (list(ours), list(theirs))
    for key in ("trainer_name", "inference_allowed_mirroring_axes"):
        assert (type(ours[key]), ours[key]) == (type(theirs[key]), theirs[key]), key
    for key in ("plans", "configuration", "fold", "dataset_json"):
        assert ours["init_args"][key] == theirs["init_args"][key], key
    print(ours["init_args"]["fold"])
`;
  expect(await runPython(program, [folder, interopFolder, ...nnunetFolders])).toBe('1\n0\n0\nall\n0\n');
});

test('a model of this package gets plans and labels', async () => {
  const bytes = await modelBytes('residual');
  const { files, warnings } = await exportNnunet(bytes, { dataset: 'Dataset042_Parts' });
  expect(warnings).toEqual([expect.stringMatching(/keeps all components of labels 1/)]);
  const { plans, labels, config, folds, mirrorAxes } = await openNnunet(files);
  const { description, weights } = await readModel(bytes);
  expect(files[0]!.path).toBe('Dataset042_Parts/nnUNetTrainer__nnUNetPlans__3d_fullres/plans.json');
  // Axes are the other way round there.
  expect(plans.configuration.spacing).toEqual([2.5, 1, 1]);
  expect(plans.configuration.patch).toEqual(description.inputSize!.toReversed());
  expect(plans.configuration.normalization).toEqual([{ scheme: 'ZScoreNormalization', masked: false }]);
  expect(plans.reader).toBe('NibabelIOWithReorient');
  expect(labels.heads.map(({ name }) => name)).toEqual(description.labels);
  expect(mirrorAxes).toEqual([]);
  const mirrored = await writeModel({ ...description, mirrorAxes: ['x', 'y'] }, weights);
  expect((await openNnunet((await exportNnunet(mirrored)).files)).mirrorAxes).toEqual([1, 2]);
  expect(config.features).toEqual(description.config.features);
  const regions = [
    { name: 'whole', labels: [1, 2], written: 1 },
    { name: 'core', labels: [2], written: 2 },
    { name: 'rim', labels: [1], written: 1 },
  ];
  const cleaned = { ...description, labels: [], regions, postprocessing: { largestComponent: [2] } };
  expect((await exportNnunet(await writeModel(cleaned, weights))).warnings).toEqual([
    'nnU-Net keeps all components of the regions "core"; this model keeps the largest',
  ]);
  const again = await readModel(await convertNnunet(await openNnunet(files), folds[0]!.name));
  expect(again.weights.parameters).toEqual((await readModel(bytes)).weights.parameters);
});

test.each([
  ['batch', /has .*norm "batch".*and nnU-Net’s classes .*norm "instance".*; export it to pytorch or onnx/],
  [
    'plain',
    /has slope 0\.1.* scaleAndShift false.* and nnU-Net’s classes .* slope 0\.01.* scaleAndShift true/,
  ],
] as const)('what its classes do not have is named: %s', async (name, message) => {
  const exported = exportNnunet(await modelBytes(name));
  await expect(exported).rejects.toThrow(InvalidModel);
  await expect(exported).rejects.toThrow(message);
});

test('what comes from elsewhere names folders within the one that is asked for, and is read before it is written', async () => {
  const ours = await modelBytes('residual');
  const { files } = await exportNnunet(ours);
  const converted = await readModel(await convertNnunet(await openNnunet(files)));
  const { nnunet } = converted.description;
  const exported = async (change: Partial<NnunetOrigin>) =>
    exportNnunet(
      await writeModel({ ...converted.description, nnunet: { ...nnunet!, ...change } }, converted.weights),
    );
  const outside = '../../../x/nnUNetTrainer';
  const plans = (from: string, to: string) => ({ plans: nnunet!.plans.replaceAll(from, to) });
  const renamed = { ...plans('"3d_fullres"', JSON.stringify(outside)), configuration: outside };
  for (const [change, message] of [
    [{ trainer: outside }, /trainer_name "\.\.\/\.\.\/.*; expected letters, digits and _/],
    [renamed, /configuration "\.\.\/\.\.\//],
    [plans('"nnUNetPlans"', JSON.stringify(outside)), /plans_name "\.\.\/\.\.\//],
    [plans('"Dataset001_unet3d"', '".."'), /dataset_name "\.\."/],
    [{ plans: '{' }, /plans\.json: it is not valid JSON/],
  ] as const) {
    await expect(exported(change)).rejects.toThrow(InvalidModel);
    await expect(exported(change)).rejects.toThrow(message);
  }
  expect((await exported({})).files.map(({ path }) => path)).toEqual(files.map(({ path }) => path));
  // As Python writes the intensities of a channel without foreground.
  const notNumbers = plans('"plans_name"', '"mean": NaN, "plans_name"');
  const [written] = (await exported(notNumbers)).files;
  expect(new TextDecoder().decode(written!.source as Uint8Array)).toBe(notNumbers.plans);
});

test('a network of another architecture is refused', async () => {
  const config = completeConfig({
    inChannels: 1,
    classes: 2,
    features: [8, 16],
    norm: 'group',
    architecture: 'segResNet',
  });
  const { parameters, parameterWords } = layoutParameters(config);
  const weights = {
    parameters: initialValues(parameters, parameterWords, 1),
    statistics: new Float32Array(),
  };
  const exported = exportNnunet(await writeModel({ config, labels: [], channels: [] }, weights));
  await expect(exported).rejects.toThrow(InvalidModel);
  await expect(exported).rejects.toThrow(
    /cannot be written for nnU-Net: the network has architecture segResNet.*; export it to pytorch or onnx/,
  );
});
