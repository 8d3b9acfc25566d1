/** Model folders of nnU-Net: what its own code makes of small ones that lie next to the checkout, and what is refused. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import '../../src/data/source.node.ts';
import type { FileEntry } from '../../src/data/case.ts';
import { readNifti } from '../../src/data/nifti.ts';
import type { Volume } from '../../src/data/volume.ts';
import { InvalidModel } from '../../src/errors.ts';
import { convertNnunet } from '../../src/interop/nnunet/convert.ts';
import { openNnunet } from '../../src/interop/nnunet/folder.ts';
import { readLabels } from '../../src/interop/nnunet/labels.ts';
import type { NnunetPredictor } from '../../src/interop/nnunet/pipeline/predictor.ts';
import { readPlans } from '../../src/interop/nnunet/plans.ts';
import { rulesOf } from '../../src/interop/nnunet/rules.ts';
import { configOf } from '../../src/interop/nnunet/weights.ts';
import { segmentAsTotalSegmentator } from '../../src/interop/totalsegmentator.ts';
import { layoutParameters } from '../../src/model/parameters.ts';
import { readModel } from '../../src/weights/model-file.ts';
import {
  interopFolder as shared,
  nnunetFixture,
  nnunetFolders,
  type NnunetFixture,
} from '../support/interop.ts';

const filesIn = (folder: string): FileEntry[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => ({ path: path.slice(folder.length + 1), source: path }));

const json = <T>(path: string): T => JSON.parse(readFileSync(path, 'utf8')) as T;

describe.skipIf(!existsSync(shared))('as nnU-Net reads them', () => {
  test.each(nnunetFolders)('%s', async (name) => {
    const folder = `${shared}/nnunet-${name}`;
    const fixture = json<NnunetFixture>(`${folder}/fixture.json`);
    const { plans, labels, config, trainer, mirrorAxes, folds } = await openNnunet(
      filesIn(`${folder}/model`),
    );
    const { network } = plans.configuration;
    const { arch_kwargs: told } = fixture.resolved.architecture;
    expect(plans.configuration.name).toBe(fixture.configuration);
    expect([trainer, mirrorAxes]).toEqual([fixture.trainer, fixture.mirroringAxes ?? []]);
    expect(folds.map((fold) => fold.name)).toEqual(fixture.folds.map(String));
    expect([config.classes, config.inChannels]).toEqual([
      fixture.resolved.heads,
      fixture.resolved.inputChannels,
    ]);
    expect(labels.ignore ?? null).toBe(fixture.resolved.ignoreLabel);
    expect(labels.regions ? labels.heads.map((head) => head.labels) : null).toEqual(
      fixture.resolved.regions?.map((region) => [region].flat()) ?? null,
    );
    expect([network.features, network.kernels, network.strides, network.bias]).toEqual([
      told['features_per_stage'],
      told['kernel_sizes'],
      told['strides'],
      told['conv_bias'],
    ]);
    expect(network.blocks).toEqual(told['n_conv_per_stage'] ?? told['n_blocks_per_stage']);
    expect(network.decoderBlocks).toEqual(told['n_conv_per_stage_decoder']);
    const { parameters } = layoutParameters(config);
    for (const fold of folds) expect([...fold.weights.keys()].sort()).toEqual([...parameters.keys()].sort());
  });

  test('the planners’ own plans, of all networks in three dimensions', () => {
    type Summary = Record<
      string,
      Record<
        string,
        { patch: number[]; spacing: number[]; features: number[]; parameters: number; batch: number }
      >
    >;
    const summary = json<Summary>(`${shared}/plans/summary.json`);
    let count = 0;
    for (const [dataset, all] of Object.entries(summary))
      for (const [key, expected] of Object.entries(all)) {
        const [file, configuration] = key.split(' ') as [string, string];
        const text = readFileSync(`${shared}/plans/${dataset}/${file}.json`, 'utf8');
        const found = readPlans(text, configuration).configuration;
        expect(found).toMatchObject({
          patch: expected.patch,
          spacing: expected.spacing,
          batchSize: expected.batch,
        });
        expect(found.network.features).toEqual(expected.features);
        const labels = readLabels(readFileSync(`${shared}/plans/${dataset}/dataset.json`, 'utf8'));
        const config = configOf(found.network, labels.channels.length, labels.heads.length);
        expect(layoutParameters(config).count, key).toBe(expected.parameters);
        count++;
      }
    expect(count).toBeGreaterThan(10);
  });

  test('chosen folds, and what is not there', async () => {
    const files = filesIn(`${shared}/nnunet-plain-iso/model`);
    const one = await openNnunet(files, { folds: ['1'] });
    expect(one.folds.map(({ name }) => name)).toEqual(['1']);
    const refused = async (entries: readonly FileEntry[], options = {}): Promise<string> =>
      openNnunet(entries, options).then(
        () => 'read',
        (error: Error) => {
          expect(error).toBeInstanceOf(InvalidModel);
          return error.message;
        },
      );
    await expect(openNnunet(files, { folds: ['0', '0'] })).rejects.toThrow(
      /a list of one fold or more, each once/,
    );
    expect(await refused(files, { folds: ['4'] })).toMatch(/fold 4 .* is missing; there are "0", "1"/);
    const checkpoint = files.find(({ path }) => path.endsWith('.pth'))!;
    const named = ['10', 'all', '2'].map((fold) => ({
      ...checkpoint,
      path: checkpoint.path.replace(/fold_\d/, `fold_${fold}`),
    }));
    const rest = files.filter(({ path }) => path.endsWith('.json'));
    expect(await refused([...rest, ...named], { folds: ['4'] })).toMatch(/there are "2", "10", "all"/);
    expect(await refused(files, { checkpoint: 'checkpoint_best.pth' })).toMatch(
      /no fold of .*__3d_fullres has a checkpoint_best/,
    );
    expect(await refused([])).toMatch(/no model of nnU-Net v2: expected a folder with plans\.json/);
    expect(await refused(files.filter(({ path }) => !path.endsWith('dataset.json')))).toMatch(
      /has no dataset\.json; give the whole model folder/,
    );
    const twice = files.concat(files.map(({ path, source }) => ({ path: `other/${path}`, source })));
    expect(await refused(twice)).toMatch(/several models of nnU-Net: /);
    // Its configuration takes the labels of the network in a folder whose name is that of its own.
    const { configuration } = await openNnunet(files).then(({ plans }) => ({
      configuration: plans.configuration.name,
    }));
    const circle = files.map(({ path, source }) => {
      const name = path.split('/').at(-1)!;
      const text = name === 'plans.json' ? readFileSync(source as string, 'utf8') : undefined;
      const plans = text && (JSON.parse(text) as { configurations: Record<string, object> });
      if (plans) Object.assign(plans.configurations[configuration]!, { previous_stage: configuration });
      const within = path.replace(/^(.*\/)?[^/]+__[^/]+\//, `a__b__${configuration}/`);
      return { path: within, source: plans ? new Blob([JSON.stringify(plans)]) : source };
    });
    expect(await refused(circle)).toMatch(/the previous stages of a__b__\w+\/ lead back to it/);
    const mixed = [
      ...files.filter(({ path }) => !path.includes('fold_')),
      ...filesIn(`${shared}/nnunet-resenc/model`)
        .filter(({ path }) => path.includes('fold_all'))
        .map(({ source }) => ({
          path: `${files[0]!.path.split('/').slice(0, 2).join('/')}/fold_all/checkpoint_final.pth`,
          source,
        })),
    ];
    expect(await refused(mixed)).toMatch(
      /lacks "encoder\.stages\.0\.0.*it is not of the network that plans\.json/,
    );
  });
});

const configuration = {
  patch_size: [8, 8, 8],
  spacing: [1, 1, 1],
  batch_size: 2,
  normalization_schemes: ['CTNormalization'],
  use_mask_for_norm: [false],
  resampling_fn_data: 'resample_data_or_seg_to_shape',
  resampling_fn_data_kwargs: { order: 3, order_z: 0, force_separate_z: null },
  resampling_fn_probabilities: 'resample_torch_fornnunet',
  resampling_fn_probabilities_kwargs: {},
  architecture: {
    network_class_name: 'x.unet.PlainConvUNet',
    arch_kwargs: {
      n_stages: 2,
      features_per_stage: [4, 8],
      conv_op: 'torch.nn.modules.conv.Conv3d',
      kernel_sizes: 3,
      strides: [1, 2],
      n_conv_per_stage: 2,
      n_conv_per_stage_decoder: [1],
      conv_bias: true,
      norm_op: 'torch.nn.modules.instancenorm.InstanceNorm3d',
      norm_op_kwargs: { eps: 1e-5, affine: true },
      dropout_op: null,
      nonlin: 'torch.nn.LeakyReLU',
      nonlin_kwargs: { inplace: true },
    },
  },
};
const plans = {
  dataset_name: 'd',
  plans_name: 'p',
  image_reader_writer: 'SimpleITKIO',
  transpose_forward: [2, 0, 1],
  transpose_backward: [1, 2, 0],
  foreground_intensity_properties_by_modality: {
    '0': { mean: 40, std: 9, percentile_00_5: -100, percentile_99_5: 300 },
  },
  configurations: {
    base: configuration,
    child: { inherits_from: 'base', batch_size: 3, previous_stage: 'low' },
  },
};

/** Plans with something else at a path. */
function changed(path: string, value: unknown): string {
  const copy = structuredClone(plans) as Record<string, unknown>;
  const keys = path.split('.');
  const last = keys.pop()!;
  const parent = keys.reduce((at, key) => at[key] as Record<string, unknown>, copy);
  parent[last] = value;
  return JSON.stringify(copy);
}

describe('plans.json', () => {
  test('intensities of a channel without foreground, NaN in Python, are asked for by CTNormalization alone', () => {
    const none = changed('foreground_intensity_properties_by_modality.0.mean', 'X').replace('"X"', 'NaN');
    expect(() => readPlans(none, 'base')).toThrow(/per_channel\.0 is without numbers, which CTNormalization/);
    const other = none.replaceAll('CTNormalization', 'ZScoreNormalization');
    expect(readPlans(other, 'base').configuration.normalization).toMatchObject([
      { scheme: 'ZScoreNormalization' },
    ]);
  });

  test('inherits, and takes one number for all levels', () => {
    const found = readPlans(JSON.stringify(plans), 'child');
    expect(found.transpose).toEqual([2, 0, 1]);
    expect(found.configuration).toMatchObject({
      batchSize: 3,
      previousStage: 'low',
      normalization: [{ scheme: 'CTNormalization', clip: [-100, 300], mean: 40, deviation: 9 }],
      resampling: {
        data: { method: 'spline', order: 3, lowResolutionOrder: 0, apart: undefined },
        probabilities: { method: 'trilinear', apart: undefined },
        labels: { how: { method: 'spline', order: 1, lowResolutionOrder: 0 }, winner: 'half' },
      },
      network: {
        kernels: [
          [3, 3, 3],
          [3, 3, 3],
        ],
        strides: [
          [1, 1, 1],
          [2, 2, 2],
        ],
        blocks: [2, 2],
      },
    });
  });

  const base = 'configurations.base';

  test.each<[object, boolean | undefined, boolean | undefined]>([
    // Where nothing is said, what nnU-Net's own function has by default.
    [{}, false, undefined],
    [{ force_separate_z: null, separate_z_anisotropy_threshold: 3 }, undefined, undefined],
    [{ force_separate_z: true }, true, true],
    [{ force_separate_z: false }, false, false],
  ])('a low-resolution axis, by %j: apart %j, with PyTorch %j', (options, spline, torch) => {
    for (const [name, apart] of [
      ['resample_data_or_seg_to_shape', spline],
      ['resample_torch_fornnunet', torch],
    ] as const) {
      const plans = JSON.parse(changed(`${base}.resampling_fn_data`, name)) as {
        configurations: { base: Record<string, unknown> };
      };
      plans.configurations.base['resampling_fn_data_kwargs'] = options;
      const { data } = readPlans(JSON.stringify(plans), 'base').configuration.resampling;
      expect(data).toMatchObject({ apart });
    }
  });

  test('labels of a previous stage', () => {
    const labelsOf = (more: object, name = 'child') => {
      const copy = structuredClone(plans);
      Object.assign(copy.configurations.base, more);
      return readPlans(JSON.stringify(copy), name).configuration.resampling.labels;
    };
    const torch = { resampling_fn_seg: 'resample_torch_fornnunet' };
    expect(labelsOf({ ...torch, resampling_fn_seg_kwargs: { is_seg: true } })).toEqual({
      how: { method: 'trilinear', apart: undefined },
      winner: 'most',
    });
    const sparing = { memefficient_seg_resampling: true, force_separate_z: false };
    expect(() => labelsOf({ ...torch, resampling_fn_seg_kwargs: sparing })).toThrow(
      /memefficient_seg_resampling is true; expected false for labels of "low"/,
    );
    const nearest = { resampling_fn_seg_kwargs: { order: 0, order_z: 0 } };
    expect(() => labelsOf(nearest)).toThrow(
      /has order 0 and order_z 0; expected 1 and 0 for labels of "low"/,
    );
    expect(labelsOf(nearest, 'base').winner).toBe('half');
  });

  const kwargs = `${base}.architecture.arch_kwargs`;
  test.each<[string, string, RegExp]>([
    [
      'two dimensions',
      changed(`${base}.patch_size`, [8, 8]),
      /patch_size\[2\]|two dimensions are not supported/,
    ],
    [
      'another network',
      changed(`${base}.architecture.network_class_name`, 'x.SwinUNETR'),
      /"x\.SwinUNETR"; expected PlainConvUNet or Res/,
    ],
    [
      'dropout',
      changed(`${kwargs}.dropout_op`, 'torch.nn.Dropout3d'),
      /dropout_op is "torch\.nn\.Dropout3d"; expected null/,
    ],
    [
      'another activation',
      changed(`${kwargs}.nonlin`, 'torch.nn.ReLU'),
      /nonlin is "torch\.nn\.ReLU"; expected/,
    ],
    ['an unknown part', changed(`${kwargs}.squeeze_excitation`, true), /squeeze_excitation is not known/],
    [
      'too few levels',
      changed(`${kwargs}.features_per_stage`, [4]),
      /features are given for 1 levels; expected 2/,
    ],
    ['a stride in front', changed(`${kwargs}.strides`, [2, 2]), /first strides are \[2, 2, 2\]; expected 1/],
    [
      'another stride',
      changed(`${kwargs}.strides`, [1, 3]),
      /strides is \[1, 3\]; expected strides of 1 or 2/,
    ],
    ['a huge network', changed(`${kwargs}.n_stages`, 1e9), /n_stages is 1000000000; expected/],
    [
      'itself as parent',
      changed(`${base}.inherits_from`, 'child'),
      /configuration "\w+" inherits from itself/,
    ],
    [
      'no parent',
      changed('configurations.child.inherits_from', '__proto__'),
      /configuration "__proto__" is missing; there are "base", "child"/,
    ],
    [
      'another preprocessor',
      changed(`${base}.preprocessor_name`, 'CorticalPreprocessor'),
      /preprocessor_name is "CorticalPreprocessor"; expected "?DefaultPreprocessor/,
    ],
    [
      'another resampling',
      changed(`${base}.resampling_fn_data`, 'mine'),
      /resampling_fn_data is "mine"; expected/,
    ],
    ...(
      [
        ['mode', 'nearest', '"linear"'],
        ['aniso_axis_mode', 'linear', '"nearest-exact"'],
        ['separate_z_anisotropy_threshold', 2, '3'],
      ] as const
    ).map(([key, value, expected]): [string, string, RegExp] => [
      `another ${key}`,
      changed(`${base}.resampling_fn_probabilities_kwargs`, { [key]: value }),
      new RegExp(
        `resampling_fn_probabilities_kwargs\\.${key} is ${JSON.stringify(value)}; expected ${expected}`,
      ),
    ]),
    [
      'no intensities',
      changed('foreground_intensity_properties_by_modality', {}),
      /per_channel\.0 is missing, which CTNorm/,
    ],
    ['two orders of axes', changed('transpose_backward', [0, 1, 2]), /not the reverse of transpose_forward/],
    [
      'an axis twice',
      changed('transpose_forward', [0, 0, 1]),
      /transpose_forward is \[0, 0, 1\]; expected each/,
    ],
    ['no JSON', '{', /not valid JSON/],
  ])('refuses %s', (_, text, message) => {
    expect(() => readPlans(text, 'child')).toThrow(message);
    expect(() => readPlans(text, 'child')).toThrow(InvalidModel);
  });
});

describe('dataset.json', () => {
  const text = (more: object): string =>
    JSON.stringify({
      channel_names: { 0: 'CT' },
      labels: { background: 0, a: 1 },
      file_ending: '.nii.gz',
      ...more,
    });

  test('regions in their order', () => {
    const labels = { background: 0, whole: [1, 2], core: 2, ignore: 3 };
    expect(readLabels(text({ labels, regions_class_order: [1, 2] }))).toEqual({
      channels: ['CT'],
      fileEnding: '.nii.gz',
      regions: true,
      ignore: 3,
      heads: [
        { name: 'whole', labels: [1, 2], written: 1 },
        { name: 'core', labels: [2], written: 2 },
      ],
    });
  });

  test.each<[object, RegExp]>([
    [{ labels: { background: 0, a: 2 } }, /label "a" is 2; expected 1/],
    [{ labels: { a: 1 } }, /background is not 0/],
    [{ labels: { background: 0 } }, /background alone/],
    [{ labels: { background: 0, a: -1 } }, /labels\.a is -1; expected a whole number/],
    [{ labels: { background: 0, a: [1, 2] } }, /regions_class_order is missing; expected 1/],
    [{ channel_names: {} }, /channel_names is missing/],
    [{ channel_names: { 1: 'CT' } }, /channel_names\.0 is missing/],
  ])('refuses %j', (more, message) => {
    expect(() => readLabels(text(more))).toThrow(message);
  });
});

test('what a model file says of nnU-Net is read once', async ({ skip }) => {
  const found = await nnunetFixture('totalsegmentator');
  if (!found) return skip(`${shared} is not there`);
  const { description } = await readModel(await convertNnunet(await openNnunet(found.files)));
  const rules = rulesOf(description);
  expect(rules?.plans.dataset).toContain('TotalSegmentator');
  expect(rulesOf({ ...description })).toBe(rules);
  const other = { ...description, config: { ...description.config, bias: false } };
  expect(() => rulesOf(other)).toThrow(/plans of another network/);
});

test("TotalSegmentator's spacing is that of the affine, whatever pixdim and units say: it makes its image of voxels and affine alone", async ({
  skip,
}) => {
  const found = await nnunetFixture('totalsegmentator');
  if (!found) return skip(`${shared} is not there`);
  const folder = `${shared}/nnunet-totalsegmentator`;
  const [resampled] = json<NnunetFixture>(`${folder}/fixture.json`).endToEnd.images;
  const expected = await readNifti(`${folder}/${resampled!}`);
  const model = await openNnunet(found.files);
  const seen: Volume[] = [];
  const steps: (number | undefined)[] = [];
  const predictor = {
    segment(_: unknown, [image]: readonly [Volume], { step }: { step?: number }) {
      seen.push(image);
      steps.push(step);
      return Promise.resolve({ labels: { data: new Uint8Array(image.data.length) } });
    },
    dispose: () => undefined,
  } as unknown as NnunetPredictor;
  const ct = gunzipSync(readFileSync(`${folder}/case/ct.nii.gz`));
  const other = Uint8Array.from(ct);
  [9, 3, 0.5].forEach((mm, axis) => new DataView(other.buffer).setFloat32(80 + 4 * axis, mm, true));
  const micrometres = Uint8Array.from(ct);
  micrometres[123] = 3;
  for (const source of [ct, other, micrometres]) {
    await segmentAsTotalSegmentator([{ model, open: () => Promise.resolve(predictor) }], source);
    const { shape, data } = seen.at(-1)!;
    expect(shape).toEqual(expected.shape);
    expect(data).toEqual(expected.data);
  }
  // Some of its tasks are not zoomed, and single structures have windows of another step.
  const canonical = await readNifti(ct, { canonical: true });
  for (const [dataset, step, shape] of [
    ['Dataset292_TotalSegmentator_part2_vertebrae_1559subj', 0.8, expected.shape],
    ['Dataset803_TotalSegmentator_vertebrae_inner_1559subj', 0.5, expected.shape],
    ['Dataset857_TotalSegMRI_thigh_shoulder_1088subj', 0.5, expected.shape],
    ['Dataset301_heart_highres_1559subj', 0.5, canonical.shape],
  ] as const) {
    const named = { ...model, plans: { ...model.plans, dataset } };
    await segmentAsTotalSegmentator([{ model: named, open: () => Promise.resolve(predictor) }], ct);
    expect([steps.at(-1), seen.at(-1)!.shape]).toEqual([step, shape]);
  }
  expect(seen.at(-1)!.data).toEqual(canonical.data);
  expect(seen.at(-1)!.affine).toEqual(canonical.affine);
});
