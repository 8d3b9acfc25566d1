/**
 * What the page knows: the data and settings of the next training, the training at hand, the open model. Views redraw
 * when it changes. One module writes each part: of the data labelled-cases.ts, of the settings planning.ts, this one of
 * the rest.
 */
import type { Case, DatasetReport, Preprocessing, PreprocessingDecision, Region } from 'unet3d-gpu/worker';
import type { AugmentationChoice } from './augmentation.ts';
import type { Chosen, Start } from './beginning.ts';
import type { ForeignModel } from './foreign-model.ts';
import type { KeptModel } from './kept-model.ts';
import type { Run } from './run.ts';

/** A volume on the visitor's disk: its file, or the two of a .hdr/.img pair. */
export type VolumeFile = File | { readonly header: File; readonly image: File };

/** The files of a case's images: by this list cases are told apart, for other data may have the same names. */
export type Images = readonly VolumeFile[];

export interface PageCase extends Case {
  readonly images: Images;
  readonly label?: VolumeFile;
  part: 'train' | 'validation' | 'unused';
}

/** What a training was begun with. */
export interface Settings {
  epochs: number;
  batchSize: number;
  features: number[];
  learningRate: number;
  /** x, y, z, or undefined for whole volumes. */
  patch: [number, number, number] | undefined;
  /** GiB of GPU memory that training may take. */
  memory: number;
  /** How volumes are stored on the GPU. */
  precision: 'f32' | 'f16';
  /** Computes parts again in the backward pass instead of keeping them. */
  checkpointing: boolean;
  /** Trainings of earlier versions of this page had none. */
  augmentation: AugmentationChoice;
  seed: number;
  /** Of the loss, per class, background first. */
  classWeights: number[];
}

/** Settings that a person can choose: the weights of classes follow from the data when a training begins. */
export type Choices = Omit<Settings, 'classWeights'>;

/** What was found of a class or region. */
export interface MeasuredVolume extends Region {
  readonly millilitres: number;
}

/** A segmentation with what is shown of it. */
export interface Result {
  readonly modelName: string;
  /** Of the model that has found it: models of one name are told apart by it. */
  readonly model: number;
  /** Names by label value. */
  readonly classes: readonly string[];
  readonly name: string;
  readonly source: VolumeFile;
  readonly labels: File;
  /** Of which each voxel has one value. */
  readonly overlay: File;
  readonly volumes: readonly MeasuredVolume[];
  readonly seconds: number;
  readonly warnings: readonly string[];
  /** Whether the labels have been downloaded: until then they are in this tab alone. */
  readonly saved: boolean;
}

/** What segments. */
export type OpenModel = KeptModel | ForeignModel;

export interface State {
  name: string;
  cases: PageCase[];
  /** Class names by label value, background first. */
  labels: string[];
  /** What is to be learnt where dataset.json says that it is regions, which overlap. */
  regions: readonly Region[] | undefined;
  /** Label value of unknown voxels, where dataset.json or the visitor tells one. */
  ignoreLabel: number | undefined;
  report: DatasetReport | undefined;
  /** Names of the channels, where the data set tells them. */
  channels: readonly string[];
  /** Another object where others come than a person chooses one by one: from the data, or from a training. */
  settings: Choices;
  /** What of the settings a person has chosen for these data: no default takes its place. */
  chosen: Partial<Choices>;
  /** How the next training begins with the open network; undefined where it begins with new weights. */
  beginning: (Chosen & { readonly start: Start }) | undefined;
  preprocessing: Preprocessing;
  /** Why it is so, and how large that makes volumes; of the data at hand. */
  decision: PreprocessingDecision | undefined;
  /** The training at hand, until another takes its place; its data and settings are its own. */
  readonly run: Run | undefined;
  /** The network that segments; opened by `openModel`. */
  readonly model: OpenModel | undefined;
  readonly modelName: string;
  /** Id of the training that it comes from, if it does. */
  readonly modelRun: string | undefined;
  /** Predictions on the sources' grids. */
  predictions: Map<Images, File>;
  results: Result[];
}

/** What data are called where no file tells. */
export const unnamed = 'your data';

export const state: State = {
  name: unnamed,
  cases: [],
  labels: [],
  regions: undefined,
  ignoreLabel: undefined,
  report: undefined,
  channels: [],
  settings: {
    epochs: 20,
    batchSize: 2,
    features: [16, 32, 64, 128],
    learningRate: 0.01,
    patch: undefined,
    memory: 2,
    precision: 'f32',
    checkpointing: false,
    augmentation: undefined,
    seed: 0,
  },
  chosen: {},
  beginning: undefined,
  preprocessing: {
    orientation: 'RAS',
    spacing: null,
    normalization: ['z-score'],
    padding: 'zeros at the far end',
  },
  decision: undefined,
  run: undefined,
  model: undefined,
  modelName: '',
  modelRun: undefined,
  predictions: new Map(),
  results: [],
};

export const choicesOf = ({ classWeights: _followTheData, ...choices }: Settings): Choices =>
  structuredClone({ ...choices, augmentation: choices.augmentation });

/** Whether a training holds the GPU. */
export const inTraining = (): boolean =>
  state.run !== undefined && ['preparing', 'running', 'pausing'].includes(state.run.phase);

/** Puts a training in the place of the one at hand, which its owner has closed. */
export function takeRun(run: Run | undefined): void {
  Object.assign(state, { run });
  try {
    sessionStorage.setItem('run', run?.id ?? '');
  } catch {
    // Where the browser blocks site data, nothing outlives a reload.
  }
  changed();
}

/** Id of the training that this tab had last, also before a reload; none where the browser blocks site data. */
export function tabsRun(): string | null {
  try {
    return sessionStorage.getItem('run');
  } catch {
    return null;
  }
}

/** Segments with another model from now on, or with none; what the one before has predicted goes with it. */
export function openModel(model: OpenModel | undefined, modelName = '', modelRun?: string): void {
  if (model !== state.model) {
    state.model?.dispose();
    state.predictions.clear();
    state.beginning = undefined;
  }
  Object.assign(state, { model, modelName, modelRun });
  changed();
}

/** What the next training begins with of the open model; undefined for new weights. */
export function beginWithModel(beginning: State['beginning']): void {
  state.beginning = beginning;
}

/** Shows what the open model makes of a case. */
export function keepPrediction(images: Images, labels: File): void {
  state.predictions.set(images, labels);
  changed();
}

/** Of cases that are there no longer. */
export function forgetPredictions(cases: readonly PageCase[]): void {
  const here = new Set(cases.map(({ images }) => images));
  for (const images of state.predictions.keys()) if (!here.has(images)) state.predictions.delete(images);
}

export function addResult(result: Result): void {
  state.results.push(result);
  changed();
}

/** Labels that were downloaded are not in this tab alone any more. */
export function markSaved(results: readonly Result[]): void {
  for (const result of results) Object.assign(result, { saved: true });
}

export function forgetResults(): void {
  state.results = [];
  changed();
}

/** Ids of the cases that cannot be trained on. */
export const badCases = (report: DatasetReport | undefined): ReadonlySet<string> =>
  new Set(report?.problems.filter(({ severity }) => severity === 'error').flatMap(({ cases }) => cases));

const listeners = new Set<() => void>();

/** Calls `listener` after each change; returns how to stop that. */
export function onChange(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function changed(): void {
  for (const listener of listeners) listener();
}

/** Names by value: the first, and where a class has none of its own there, the second. */
export const named = (first: readonly string[], second: readonly string[]): string[] =>
  Array.from({ length: Math.max(first.length, second.length) }, (_, value) => {
    const name = first[value] ?? `class ${value}`;
    return name === `class ${value}` ? (second[value] ?? name) : name;
  });

/** What classes and channels are called of which nothing is known but their number. */
export const nameless = /^(?:class|channel) \d+$/;

/** Values of classes that have different names in two lists. Background is that by whatever name. */
export const valuesApart = (some: readonly string[], others: readonly string[]): number[] =>
  some.flatMap((name, value) => {
    const both = [name, others[value] ?? name];
    const areTold = both.every((each) => each !== 'ignore' && !nameless.test(each));
    return value > 0 && areTold && both[0] !== both[1] ? [value] : [];
  });

export const classNames = (count: number): string[] =>
  Array.from(
    { length: count },
    (_, value) =>
      state.labels[value] ??
      (value === state.ignoreLabel ? 'ignore' : value === 0 ? 'background' : `class ${value}`),
  );
