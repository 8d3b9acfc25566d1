/**
 * Every public call looks at what it is given: an unknown option, and one of another kind or out of range, is refused by
 * name, never left aside and never met by an error of the language.
 */
import { afterAll, expect, test } from 'vitest';
import { InvalidOption } from '../src/errors.ts';
import * as library from '../src/node.ts';
import * as report from '../src/report/index.node.ts';
import * as worker from '../src/worker/index.ts';
import { testDevice } from './support/device.ts';

/** A call with arguments that it takes. */
interface PublicCall {
  readonly call: (...values: never[]) => unknown;
  readonly values: readonly unknown[];
  /** Which of the values are options, each with a value that it may have; those of other calls are arguments. */
  readonly options?: Readonly<Record<number, object>>;
  /** Paths of what null, NaN or an empty object stand for, such as `1.spacing`. */
  readonly mayBe?: Readonly<Record<string, readonly unknown[]>>;
}

const affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
const shape = [2, 2, 2];
const data = new Float32Array(8).map((_, i) => i);
const labels = new Uint8Array(8).map((_, i) => i % 2);
const volume = { data, shape, affine };
const map = { data: labels, shape, affine };
const { device } = await testDevice();
const gpu = await library.Gpu.open({ device });
const config = library.completeConfig({ inChannels: 1, classes: 2, features: [2, 3] });
const model = await library.UNet3D.create({ inChannels: 1, classes: 2, features: [2, 3], device });
afterAll(() => model.dispose());
const saved = await model.save();
const nnunetNetwork = {
  encoder: 'plain',
  features: [2, 3],
  kernels: [
    [3, 3, 3],
    [3, 3, 3],
  ],
  strides: [
    [1, 1, 1],
    [2, 2, 2],
  ],
  blocks: [2, 2],
  decoderBlocks: [2],
  stem: 2,
  bias: true,
};
const nifti = await library.writeNifti(volume);
const arrays = { data, dims: shape };
const prepared = library.fromArrays('a', arrays, { data: labels, dims: shape });
const files = [
  { path: 'images/a.nii.gz', source: new Blob([]) },
  { path: 'labels/a.nii.gz', source: new Blob([]) },
];
const item = { id: 'a', subject: 'a', images: [nifti], label: await library.writeNifti(map) };
const dataset = { name: 'd', cases: [item], labels: [], channels: [], warnings: [] };
const { fingerprint } = await library.checkDataset(dataset);
const preprocessing = library.defaultPreprocessing();
const metrics = [0, 1].map((at) => library.evaluateCase(map, map, { classes: 2, name: `case ${at}` }));
const summary = report.summarise(metrics);
const loss = library.weightedDice();
const [lossShape, optimizer] = [library.lossShape(loss, 2), library.adam()];
const planned = { config, size: [2, 2, 2], batch: 1, limits: library.defaultLimits, precision: 'f32' };
const { limits } = gpu;
const planner = { limits, loss: lossShape, optimizer };
const wish = { config, size: [2, 2, 2], batch: 1 };
const { passes } = library.planTraining({ ...wish, loss: lossShape, optimizer } as never).plan;
const view = worker.viewOf(volume);
const { signal } = new AbortController();
const onProgress = () => undefined;
const names = ['a', 'b'];
const regions = names.map((name) => ({ name, labels: [1], written: 1 }));
const cases = ['a', 'b', 'c', 'd'].map((id) => ({ id, subject: id }));
const sampleOfMirror = { tta: false, mirrorAxes: [] };
const file = { tensors: new Map([['a', { shape: [1], data: new Float32Array(1) }]]), metadata: { of: 'a' } };
const picture = { labels: names, plane: 'axial', slice: 0, columns: ['image'], panel: 40, window: [0, 1] };

const calls: Readonly<Record<string, PublicCall>> = {
  'UNet3D.create': {
    call: (options) =>
      library.UNet3D.create({ ...(options as object), device } as never).then((m) => m.dispose()),
    values: [],
    options: {
      0: {
        inChannels: 1,
        classes: 2,
        features: [2, 3],
        norm: 'batch',
        activation: 'relu',
        seed: 1,
        precision: 'f32',
        matrixUnits: false,
        deepSupervision: false,
        strides: [[2, 2, 2]],
        labels: names,
        initialWeights: 'pytorch',
        regions,
        channels: ['t'],
        preprocessing,
        memoryBudget: 2 ** 30,
        limits: {},
      },
    },
    mayBe: { '0.limits': [{}] },
  },
  'UNet3D.fit': {
    call: (source, options) => model.fit(source, options),
    values: [[prepared]],
    options: {
      1: {
        epochs: 1,
        batchSize: 1,
        seed: 1,
        loss,
        optimizer,
        schedule: library.constant({ learningRate: 0 }),
        validation: [prepared],
        augmentation: library.nnunetAugmentation(),
        concessions: 'auto',
        keepBest: true,
        freeze: 'encoder',
        maxGradientNorm: 1,
        accumulate: 1,
      },
    },
  },
  'UNet3D.takeWeights': {
    call: (bytes, options) => model.takeWeights(bytes, options),
    values: [saved],
    options: { 1: { heads: 'auto' } },
  },
  'UNet3D.evaluate': {
    call: (given, options) => model.evaluate(given, options),
    values: [[prepared]],
    options: { 1: { ...sampleOfMirror, loss, postprocess: true, signal } },
  },
  'UNet3D.predict': {
    call: (source, options) => model.predict(source, options),
    values: [nifti],
    options: {
      1: {
        ...sampleOfMirror,
        output: 'labels',
        uncertainty: true,
        overlap: 0,
        window: [2, 2, 2],
        postprocess: true,
        signal,
        onProgress,
      },
    },
  },
  'UNet3D.logits': {
    call: (given, options) => model.logits(given, options),
    values: [prepared],
    options: { 1: { overlap: 0, window: [2, 2, 2], signal, onProgress } },
  },
  'UNet3D.choosePostprocessing': {
    call: (given, options) => model.choosePostprocessing(given, options),
    values: [[prepared]],
    options: { 1: { ...sampleOfMirror, signal, onProgress } },
  },
  'UNet3D.describe': {
    call: (more) => model.describe(more),
    values: [],
    options: { 0: { labels: names, channels: ['t'], inputSize: [2, 2, 2] } },
  },
  'UNet3D.plan': {
    call: (given) => model.plan(given),
    values: [],
    options: { 0: { size: [2, 2, 2], batch: 1, loss } },
  },
  'UNet3D.summary': {
    call: (given) => model.summary(given),
    values: [],
    options: { 0: { size: [2, 2, 2], batch: 1 } },
  },
  'Gpu.open': {
    call: (given) => library.Gpu.open(given),
    values: [],
    options: { 0: { device, limits, matrixUnits: false } },
    mayBe: { '0.limits': [{}] },
  },
  'Segmentation.toNifti': {
    call: (options) => new library.Segmentation(map as never, undefined, undefined, []).toNifti(options),
    values: [],
    options: { 0: { gzip: true } },
  },
  completeConfig: { call: library.completeConfig, values: [config], mayBe: { '0': [{}] } },
  sizeMultiple: { call: library.sizeMultiple, values: [config] },
  paddedSize: { call: library.paddedSize, values: [config, [2, 2, 2]] },
  planInference: { call: library.planInference, values: [], options: { 0: planned } },
  planEvaluation: {
    call: library.planEvaluation,
    values: [],
    options: { 0: { ...planned, loss: lossShape } },
  },
  planTraining: {
    call: library.planTraining,
    values: [],
    options: {
      0: {
        ...planned,
        loss: lossShape,
        optimizer,
        checkpointing: false,
        accumulate: 1,
        augment: true,
        margin: [0, 0, 0],
        averaging: false,
      },
    },
  },
  alternatives: { call: library.alternatives, values: [wish, 2 ** 30, planner, 1] },
  concede: { call: library.concede, values: [wish, 2 ** 30, planner, 'auto'] },
  defaultBudget: { call: library.defaultBudget, values: [gpu] },
  summarise: {
    call: library.summarise,
    values: [config, library.planInference(planned as never).plan],
    options: { 2: { size: [2, 2, 2], batch: 1 } },
  },
  nnunetPatch: {
    call: library.nnunetPatch,
    values: [{ shape: [2, 2, 2], spacing: [1, 1, 1] }, { config, batch: 1 }, 2 ** 30, planner],
  },
  tune: {
    call: library.tune,
    values: [gpu, passes.slice(0, 1)],
    options: { 2: { signal, warn: onProgress, onPass: onProgress, budgetMs: 1e-9, candidates: () => [] } },
  },
  setTuningStore: { call: library.setTuningStore, values: [() => Promise.resolve(undefined)] },
  setAdapterProvider: { call: library.setAdapterProvider, values: [() => Promise.reject(new Error('none'))] },
  selfTest: {
    call: library.selfTest,
    values: [],
    options: { 0: { device, limits, matrixUnits: false, signal: AbortSignal.abort(), onProgress } },
    mayBe: { '0.limits': [{}] },
  },
  setPolling: { call: library.setPolling, values: ['calm'] },
  adapterClassOf: { call: library.adapterClassOf, values: [{ vendor: 'a' }], mayBe: { '0': [{}] } },
  memoryOf: { call: library.memoryOf, values: [{ vendor: 'a' }], mayBe: { '0': [{}] } },
  lossShape: { call: library.lossShape, values: [loss, 2] },
  crossEntropy: { call: library.crossEntropy, values: [[1, 1]] },
  weightedDice: { call: library.weightedDice, values: [[1, 1]], options: { 1: { smooth: 1, batch: true } } },
  nnunetLoss: { call: library.nnunetLoss, values: [2], options: { 1: { batch: true } } },
  nnunetRegionLoss: {
    call: library.nnunetRegionLoss,
    values: [regions],
    options: { 1: { batch: true, ignore: true } },
  },
  diceCrossEntropy: {
    call: library.diceCrossEntropy,
    values: [],
    options: { 0: { smooth: 1, batch: true, diceWeights: [1], entropyWeights: [1] } },
  },
  adam: { call: library.adam, values: [], options: { 0: { betas: [0, 0], epsilon: 1, weightDecay: 0 } } },
  adamW: { call: library.adamW, values: [], options: { 0: { betas: [0, 0], epsilon: 1, weightDecay: 0 } } },
  sgd: { call: library.sgd, values: [], options: { 0: { momentum: 0, weightDecay: 0, nesterov: false } } },
  oneCycle: {
    call: library.oneCycle,
    values: [],
    options: {
      0: {
        maxLearningRate: 1,
        pctStart: 0.5,
        divFactor: 2,
        finalDivFactor: 2,
        anneal: 'cos',
        threePhase: true,
        cycleMomentum: false,
        baseMomentum: 0,
        maxMomentum: 0,
      },
    },
  },
  poly: { call: library.poly, values: [], options: { 0: { learningRate: 1, power: 1 } } },
  cosine: {
    call: library.cosine,
    values: [],
    options: { 0: { learningRate: 1, finalLearningRate: 0, warmup: 0 } },
  },
  constant: { call: library.constant, values: [], options: { 0: { learningRate: 1 } } },
  scheduleAt: { call: library.scheduleAt, values: [library.constant({ learningRate: 1 }), 0, 2] },
  nnunetAugmentation: {
    call: library.nnunetAugmentation,
    values: [],
    options: { 0: library.nnunetAugmentation() },
  },
  augmentationMargin: {
    call: library.augmentationMargin,
    values: [library.nnunetAugmentation(), [2, 2, 2], [2, 2, 2]],
  },
  phantom: {
    call: library.phantom,
    values: [0],
    options: { 1: { shape, spacing: [1, 1, 1], seed: 1, noise: 0 } },
  },
  phantoms: { call: library.phantoms, values: [1], options: { 1: { shape, first: 0, seed: 1 } } },
  dice: { call: library.dice, values: [labels, labels, 2] },
  meanDefined: { call: library.meanDefined, values: [[1, 2]] },
  largestComponents: {
    call: library.largestComponents,
    values: [labels, shape],
    options: { 2: { connectivity: 6, classes: [1] } },
  },
  readNifti: {
    call: library.readNifti,
    values: [nifti],
    options: { 1: { canonical: true, onto: volume, statistics: false, image: nifti } },
  },
  writeNifti: {
    call: library.writeNifti,
    values: [volume],
    options: { 1: { datatype: 'int16', gzip: false } },
  },
  defaultPreprocessing: {
    call: library.defaultPreprocessing,
    values: [1, [1, 1, 1]],
    mayBe: { '1': [null] },
  },
  fromArrays: {
    call: library.fromArrays,
    values: ['a', [arrays], { data: labels, dims: shape }, preprocessing],
    options: { 4: { classes: 2, classNames: names, ignoreLabel: 3 } },
  },
  prepareCase: {
    call: library.prepareCase,
    values: [item, preprocessing],
    options: { 2: { classes: 2, classNames: names, ignoreLabel: 3 } },
  },
  openDataset: {
    call: library.openDataset,
    values: [files],
    options: { 1: { name: 'a', subjects: /(a)/, readText: () => Promise.resolve('') } },
  },
  pairDataset: {
    call: library.pairDataset,
    values: [files.slice(0, 1), files.slice(0, 1)],
    options: { 2: { name: 'a', subjects: /(a)/ } },
  },
  splitCases: {
    call: library.splitCases,
    values: [cases],
    options: { 1: { fractions: [0.5, 0.25, 0.25], seed: 1 } },
  },
  foldCases: { call: library.foldCases, values: [cases], options: { 1: { folds: 2, test: 0, seed: 1 } } },
  casesInMemory: { call: library.casesInMemory, values: [[prepared]] },
  trainingBatches: {
    call: library.trainingBatches,
    values: [library.casesInMemory([prepared])],
    options: {
      1: {
        batchSize: 1,
        multiple: 1,
        patch: [2, 2, 2],
        placement: 'centre',
        margin: () => [0, 0, 0],
        oversample: 0,
        seed: 1,
        batchesPerEpoch: 1,
      },
    },
  },
  checkDataset: { call: library.checkDataset, values: [dataset], options: { 1: { signal, onProgress } } },
  checkCase: { call: worker.checkCase, values: [item, dataset] },
  reportOf: { call: worker.reportOf, values: [dataset, [await worker.checkCase(item, dataset)]] },
  readHeader: { call: worker.readHeader, values: [nifti] },
  filesInZip: { call: worker.filesInZip, values: [new Uint8Array(22)] },
  modelFolders: { call: worker.modelFolders, values: [files] },
  totalSegmentatorParts: { call: worker.totalSegmentatorParts, values: [files] },
  closestCanonical: { call: worker.closestCanonical, values: [affine] },
  isOnePart: { call: worker.isOnePart, values: [[{ path: 'a.json', source: new Uint8Array(1) }]] },
  foldersToChoose: {
    call: worker.foldersToChoose,
    values: [[{ path: 'a.json', source: new Uint8Array(1) }]],
  },
  trainingStart: {
    call: worker.trainingStart,
    values: [
      {
        plans: {
          transpose: [0, 1, 2],
          configuration: {
            patch: [8, 8, 8],
            spacing: [1, 1, 1],
            normalization: [],
            network: nnunetNetwork,
            resampling: { data: { method: 'trilinear' } },
          },
        },
        config,
      },
    ],
  },
  mergedNames: { call: worker.mergedNames, values: [[]] },
  nnunetPreprocessing: {
    call: library.nnunetPreprocessing,
    values: [fingerprint, ['t'], [1, 1, 1]],
    mayBe: { '2': [null] },
  },
  evaluateCase: {
    call: library.evaluateCase,
    values: [map, map],
    options: { 2: { classes: 2, spacing: [1, 1, 1], tolerance: 1, name: 'a', background: true, ignore: 3 } },
  },
  evaluateRegions: {
    call: library.evaluateRegions,
    values: [map, map],
    options: { 2: { classes: 2, regions, tolerance: 1, name: 'a', ignore: 3 } },
  },
  readSafetensors: { call: library.readSafetensors, values: [library.writeSafetensors(file), 'a'] },
  writeSafetensors: {
    call: library.writeSafetensors,
    values: [],
    options: { 0: file, 1: { precision: 'f16' } },
    mayBe: { '0.metadata': [{}] },
  },
  exportMonai: { call: library.exportMonai, values: [saved] },
  exportNnunet: {
    call: library.exportNnunet,
    values: [saved],
    options: { 1: { dataset: 'Dataset001_A', fold: '1' } },
  },
  exportOnnx: {
    call: library.exportOnnx,
    values: [saved],
    options: { 1: { upsampling: 'shuffled' } },
  },
  exportPytorch: { call: library.exportPytorch, values: [saved] },
  exportSafetensors: {
    call: library.exportSafetensors,
    values: [saved],
    options: { 1: { precision: 'f16', fold: '1' } },
  },
  readPytorch: { call: library.readPytorch, values: [new Uint8Array(4)] },
  readStateDict: { call: library.readStateDict, values: [new Uint8Array(4)] },
  historyCsv: { call: report.historyCsv, values: [[], names] },
  voxelVolume: { call: library.voxelVolume, values: [affine] },
  folderStore: { call: library.folderStore, values: ['/nowhere'] },
  folderCache: { call: library.folderCache, values: ['/nowhere'] },
  openDatasetFolder: {
    call: library.openDatasetFolder,
    values: ['/nowhere'],
    options: { 1: { name: 'a', subjects: /(a)/ } },
  },
  openFolderPair: {
    call: library.openFolderPair,
    values: ['/nowhere', '/nowhere'],
    options: { 2: { name: 'a', subjects: /(a)/ } },
  },
  openNnunet: {
    call: library.openNnunet,
    values: [[{ path: 'a.json', source: new Uint8Array(1) }]],
    options: { 1: { folds: ['0'], checkpoint: 'a', folder: 'a/', configuration: 'a' } },
  },
  'Ensemble.open': {
    call: (files, options) => library.Ensemble.open(files, options),
    values: [[{ path: 'a.json', source: new Uint8Array(1) }]],
    options: {
      1: { folds: ['0'], checkpoint: 'a', folder: 'a/', configuration: 'a', device, memoryBudget: 1 },
    },
  },
  openEnsembleFolder: {
    call: library.openEnsembleFolder,
    values: ['/nowhere'],
    options: {
      1: { folds: ['0'], checkpoint: 'a', folder: 'a/', configuration: 'a', device, memoryBudget: 1 },
    },
  },
  convertNnunet: {
    call: library.convertNnunet,
    values: [{ config, folds: [{ name: '0', weights: new Map() }], origin: {} }, '0'],
  },
  trainableModel: { call: library.trainableModel, values: [saved, 'a'] },
  openMonai: {
    call: library.openMonai,
    values: [[{ path: 'a.json', source: new Uint8Array(1) }]],
  },
  convertMonai: {
    call: library.convertMonai,
    values: [{ network: { kind: 'UNet', config }, weights: new Map(), labels: [], channels: [] }],
  },
  'NnunetPredictor.load': {
    call: (files, options) => library.NnunetPredictor.load(files, options),
    values: [[{ path: 'a.json', source: new Uint8Array(1) }]],
    options: { 1: { folds: ['0'], checkpoint: 'a', folder: 'a/', memoryBudget: 1, precision: 'f32' } },
  },
  'MonaiPredictor.load': {
    call: (files, options) => library.MonaiPredictor.load(files, options),
    values: [[{ path: 'a.json', source: new Uint8Array(1) }]],
    options: { 1: { memoryBudget: 1, precision: 'f32' } },
  },
  segmentAsTotalSegmentator: {
    call: library.segmentAsTotalSegmentator,
    values: [[], nifti],
    options: { 2: { step: 0.8, signal, onProgress } },
  },
  writeFileAtomically: { call: library.writeFileAtomically, values: ['/proc/nowhere', 'a'] },
  labelRules: { call: library.labelRules, values: [dataset] },
  cacheFolder: {
    call: library.cacheFolder,
    values: [{ platform: 'linux', env: {} }, '/home'],
  },
  volumesAmong: { call: worker.volumesAmong, values: [files] },
  looksLikeLabel: { call: worker.looksLikeLabel, values: ['a'] },
  stemOf: { call: worker.stemOf, values: ['a'] },
  imagesByCase: { call: worker.imagesByCase, values: [files, 1] },
  privateStore: { call: worker.privateStore, values: ['a'] },
  bestModel: { call: worker.bestModel, values: [new Uint8Array(4), new Uint8Array(4)] },
  lastModel: { call: worker.lastModel, values: [new Uint8Array(4), new Uint8Array(4)] },
  progressOf: { call: worker.progressOf, values: [new Uint8Array(4)] },
  cssColor: { call: worker.cssColor, values: [[1, 2, 3]] },
  classColor: { call: worker.classColor, values: [1] },
  greyWindow: { call: worker.greyWindow, values: [data] },
  mostTelling: { call: worker.mostTelling, values: [labels, view] },
  sliceValues: { call: worker.sliceValues, values: [data, view, 0] },
  viewOf: { call: worker.viewOf, values: [volume, 'axial'] },
  'report summarise': {
    call: report.summarise,
    values: [metrics],
    options: { 1: { seed: 1, resamples: 2 } },
  },
  metricsCsv: { call: report.metricsCsv, values: [metrics, names] },
  metricsJson: {
    call: report.metricsJson,
    values: [metrics, summary],
    options: { 2: { labels: names, tolerance: 1 } },
  },
  pickCases: { call: report.pickCases, values: [metrics] },
  casePicture: {
    call: report.casePicture,
    values: ['Best', metrics[0], { image: volume, truth: labels, prediction: labels }],
    options: { 3: { labels: names, scored: names } },
  },
  mapsOver: { call: report.mapsOver, values: [{ name: 'a', image: volume, truth: map }, 3] },
  renderCase: {
    call: report.renderCase,
    values: [{ name: 'a', image: volume, truth: map }, 'png'],
    options: { 2: { ...picture, ignore: 3 } },
  },
  reportHtml: {
    call: report.reportHtml,
    values: [],
    options: {
      0: {
        title: 'a',
        created: 'a',
        command: 'a',
        labels: names,
        config: { a: 1 },
        split: { train: ['a'] },
        cases: metrics,
        summary,
        tolerance: 1,
        evaluated: 'test',
        adapter: 'a',
        seed: 1,
        notes: [],
        hashes: {},
        dataset: {},
        versions: {},
      },
    },
    mayBe: { '0.config': [{}], '0.hashes': [{}], '0.dataset': [{}], '0.versions': [{}], '0.split': [{}] },
  },
};

/** Those that take nothing to look at, or whatever there is. */
const others = {
  'errors and handles of what was begun': /^[A-Z]/,
  'without arguments': ['joinRanks', 'releaseNodeGpu'],
  'texts for whatever there is': ['formatBytes', 'sourceName'],
  'numbers for numbers, voxel by voxel': ['labelOf'],
  'a name among names': ['sidedName'],
  'what a model of MONAI finds': ['overlappingRegions'],
};

test('is complete', () => {
  const exported = Object.entries({ ...library, ...worker, ...report }).filter(
    ([, value]) => typeof value === 'function',
  );
  const known = new Set([
    ...Object.keys(calls).map((name) => name.split(' ').pop()!),
    ...Object.values(others).flat(),
  ]);
  const classes = others['errors and handles of what was begun'];
  expect(exported.map(([name]) => name).filter((name) => !classes.test(name) && !known.has(name))).toEqual(
    [],
  );
});

const shownAs = (value: unknown): string =>
  typeof value === 'object' && value !== null ? '{}' : String(value);

/** The error of a call, whichever way it comes. */
async function errorOf({ call }: PublicCall, values: readonly unknown[]): Promise<unknown> {
  try {
    await (call as (...given: readonly unknown[]) => unknown)(...values);
    return undefined;
  } catch (error) {
    return error;
  }
}

test.each(others['texts for whatever there is'])('%s gives a text', (name) => {
  const call = { ...library, ...worker }[name as 'formatBytes'] as (value: unknown) => unknown;
  for (const value of [null, undefined, NaN, Infinity, -1, '', [], {}, { header: null, image: 1 }])
    expect(call(value)).toBeTypeOf('string');
});

/** Of another kind than any value, and out of the range of numbers. */
const wrong = (sample: unknown): readonly unknown[] => [
  null,
  NaN,
  {},
  ...(typeof sample === 'number' ? [-1, String(sample)] : [-1]),
];

test.each(Object.entries(calls))('%s', async (_, given) => {
  const { values, options = {}, mayBe = {} } = given;
  const samples: unknown[] = [...values];
  for (const [at, sample] of Object.entries(options)) samples[Number(at)] = sample;
  const sound = await errorOf(given, samples);
  expect(sound).not.toBeInstanceOf(InvalidOption);
  expect(sound).not.toBeInstanceOf(TypeError);

  const refused: [what: string, values: readonly unknown[], name: string | undefined][] = [];
  for (const [at, sample] of samples.entries()) {
    const withValue = (value: unknown) => samples.map((other, index) => (index === at ? value : other));
    const isFree = (path: string, value: unknown) =>
      (mayBe[path] ?? []).some((other) => shownAs(other) === shownAs(value));
    if (!(at in options)) {
      for (const value of wrong(sample))
        if (!isFree(String(at), value))
          refused.push([`argument ${at} ${shownAs(value)}`, withValue(value), undefined]);
      continue;
    }
    for (const value of [null, NaN, 'a', -1, []])
      refused.push([`options ${shownAs(value)}`, withValue(value), undefined]);
    refused.push(['unknown', withValue({ ...(sample as object), unheardOf: 1 }), 'unheardOf']);
    for (const [key, usual] of Object.entries(sample as object))
      for (const value of wrong(usual))
        if (!isFree(`${at}.${key}`, value))
          refused.push([`${key} ${shownAs(value)}`, withValue({ ...(sample as object), [key]: value }), key]);
  }
  const found: string[] = [];
  for (const [what, changed, name] of refused) {
    const error = await errorOf(given, changed);
    if (!(error instanceof InvalidOption)) found.push(`${what}: ${String(error)}`);
    else if (name !== undefined && !error.message.includes(name))
      found.push(`${what} is not named: ${error.message}`);
  }
  expect(found).toEqual([]);
});

test.each([
  ['image', { ...prepared, image: data.subarray(0, 7) }, /2 x 2 x 2 voxels its image has 7 numbers/],
  ['label', { ...prepared, label: labels.subarray(0, 7) }, /its image has 8 numbers and its label 7/],
  ['shape', { ...prepared, shape: [2, 2, 2.5] }, /a case as prepareCase gives it/],
  ['channels', { ...prepared, image: new Float32Array(16), channels: 2 }, /has 2 channel.*takes 1/],
  ['channels left out', { ...prepared, channels: undefined }, /channels is undefined, and its image holds 1/],
] as const)('a case whose arrays do not fit together is refused: %s', async (_, given, message) => {
  const wrongly = [given as never];
  await expect(model.fit(wrongly, { epochs: 1 })).rejects.toThrow(message);
  await expect(model.fit([prepared], { epochs: 1, validation: wrongly })).rejects.toThrow(message);
  await expect(model.fit([prepared], { epochs: 1, preview: given as never })).rejects.toThrow(message);
  await expect(model.evaluate(wrongly)).rejects.toThrow(message);
  await expect(model.choosePostprocessing(wrongly)).rejects.toThrow(message);
});

test('what is changed after a call is not seen by it', async () => {
  const other = library.fromArrays('other', arrays, { data: labels, dims: shape });
  const [cases, files] = [[prepared], [nifti]];
  const options = { loss: library.weightedDice() };
  const output = { output: 'probabilities' as 'probabilities' | 'labels' };
  const whole = { image: prepared.image, shape: prepared.shape };
  const answers = Promise.all([
    model.evaluate(cases, options),
    model.predict(files, output),
    model.logits(whole),
    model.evaluate([prepared]),
    model.logits(prepared),
  ]);
  const named = { labels: ['none', 'some'] };
  model.describe(named);
  named.labels[1] = 'other';
  expect(model.description.labels).toEqual(['none', 'some']);
  cases[0] = other;
  files.length = 0;
  options.loss = library.crossEntropy();
  output.output = 'labels';
  whole.image = new Float32Array(8);
  const [scores, segmentation, logits, plain, expected] = await answers;
  expect(scores).toEqual(plain);
  expect(segmentation.probabilities).toBeDefined();
  expect(logits).toEqual(expected);
});

test('arrays and bytes of other kinds are refused by name', async () => {
  const large = { data: new BigInt64Array(8), dims: shape };
  expect(() => library.fromArrays('a', large as never)).toThrow(/images\[0\].data is .*BigInt64Array; give/);
  await expect(library.UNet3D.load(new DataView(saved.buffer) as never)).rejects.toThrow(InvalidOption);
});

test('batches of the caller are looked at', async () => {
  const batch = { image: data, label: labels };
  const source = { size: [2, 2, 2], batchSize: 1, batchesPerEpoch: 1, identity: 'own', batch: () => batch };
  const refused = async (changed: object, message: RegExp) =>
    expect(model.fit({ ...source, ...changed } as never, { epochs: 1 })).rejects.toThrow(message);
  await refused({ batchSize: 0 }, /fit: batchSize is 0; give a whole number from 1 on/);
  await refused({ batchesPerEpoch: 1.5 }, /fit: batchesPerEpoch is 1.5; give/);
  await refused({ batch: () => undefined }, /Batch 0 of epoch 0: it is undefined; give/);
  await refused({ batch: () => ({ ...batch, image: [...data] }) }, /image is \[0, 1,.*give a Float32Array/);
  await refused(
    { batch: () => ({ ...batch, label: new Int32Array(8) }) },
    /label is .*Int32Array; give a Uint8/,
  );
  const through = (): never => undefined as never;
  await expect(model.fit([prepared], { epochs: 1, through })).rejects.toThrow(
    /what through gives: it is undefined/,
  );
});
