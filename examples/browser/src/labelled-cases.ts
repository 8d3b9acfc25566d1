/** The cases of the page with their labels: each change of these is checked, and what follows from it decided. */
import { sourceName, type Case, type Dataset, type FileEntry } from 'unet3d-gpu/worker';
import { unknownVoxel } from './annotate/drawing.ts';
import { setOrigin } from './annotate/kept-drawings.ts';
import { taken } from './annotate/taken.ts';
import { dataJob } from './data-client.ts';
import { device } from './device.ts';
import { messageOf, nextTask, unsaid } from './dom.ts';
import { aboutSeries } from './intake-questions.ts';
import {
  chooseAugmentation,
  chooseDefaults,
  classCount,
  divide,
  forgetChoices,
  forgetDecision,
} from './planning.ts';
import {
  badCases,
  changed,
  classNames,
  forgetPredictions,
  named,
  nameless,
  state,
  unnamed,
  type Images,
  type PageCase,
  type VolumeFile,
} from './state.ts';
import { inPageWords } from './words.ts';

/** What stays of cases where others come to them, or they come back. */
export interface Kept {
  /** What cases are for, by id. */
  readonly parts?: ReadonlyMap<string, PageCase['part']>;
  /** Of the classes. */
  readonly names?: readonly string[];
  /** Labels to choose from beside those that the cases have. */
  readonly labels?: readonly FileEntry[];
  /** As in `LabelledCases`. */
  readonly byHand?: Iterable<string>;
}

/** The cases of the page, with labels or without, and what is known of them: to be opened again elsewhere. */
export interface AtHand {
  readonly dataset: Dataset;
  readonly kept: Required<Pick<Kept, 'parts' | 'names'>>;
}

export class LabelledCases {
  /** Names where a dataset.json tells them, as the cases have them. */
  #classes: readonly string[] = [];
  /** Labels that were drawn or mapped. */
  #made = new Set<VolumeFile>();
  /** Ids of the cases of which it is decided what they are for. */
  #decided = new Set<string>();
  #reading = new AbortController();
  #mapping = new AbortController();
  /** The last check, unless that was ended without another in its place. */
  #newest: Promise<boolean> | undefined;
  /** Whether a check is going on. */
  #isReading = false;
  /** Why the last check failed that did. */
  #failure = '';
  readonly #onChange: () => void;
  readonly #onWork: (text: string) => void;

  /** Whether a check was cancelled, or failed: some cases have not been read. */
  unread = false;
  /** Labels to choose from. */
  labels: readonly FileEntry[] = [];
  /** What there is to say about the files, one sentence each. */
  trouble: string[] = [];
  /** What a person has done here that is in no file, in words. */
  byHand = new Set<string>();
  /** Values of the labels with the number of cases that hold them, where some are no classes. */
  values: ReadonlyMap<number, number> | undefined;

  /** @param onWork is told what is being done, and '' at its end */
  constructor(onChange: () => void, onWork: (text: string) => void) {
    this.#onChange = onChange;
    this.#onWork = onWork;
  }

  /** Takes the cases of a data set in the place of those that are there, with all that it tells of them. */
  open(dataset: Dataset, { parts = new Map(), names = [], labels = [], byHand = [] }: Kept = {}): void {
    this.#classes = dataset.labels;
    this.#decided = new Set(parts.keys());
    const { name, channels, regions, ignoreLabel } = dataset;
    Object.assign(state, { name, channels, regions, ignoreLabel, report: undefined });
    forgetDecision();
    state.labels = named(withoutNameless(names), dataset.labels);
    // A case that comes back may have a label that is older than what is drawn on it.
    const before = new Map(state.cases.map((item) => [item.images, item.label]));
    for (const { images, label } of dataset.cases as readonly PageCase[])
      if (!before.has(images) || before.get(images) !== label) taken.delete(images);
    state.cases = dataset.cases.map(({ label, ...item }): PageCase => ({
      ...item,
      images: item.images as Images,
      ...(label ? { label: label as VolumeFile } : {}),
      part: parts.get(item.id) ?? 'unused',
    }));
    forgetPredictions(state.cases);
    const used = dataset.cases.flatMap(({ label }) =>
      label ? [{ path: sourceName(label), source: label }] : [],
    );
    const all = [...labels, ...used].map((file) => [file.source, file] as const);
    // Each file once, as it was called first.
    this.labels = [...new Map([...all, ...all.toReversed()]).values()];
    this.byHand = new Set(byHand);
    this.values = undefined;
    this.unread = false;
    this.trouble.push(...dataset.warnings.map((warning) => inPageWords(warning)));
    changed();
  }

  /** What stays of these cases where others come to them. */
  kept(): Required<Kept> {
    return { parts: this.#parts(), names: state.labels, labels: this.labels, byHand: this.byHand };
  }

  #stopReading(): void {
    this.#reading.abort();
    this.#newest = undefined;
  }

  /** Ends the reading of cases, or the mapping of their labels. */
  cancel(): void {
    this.#mapping.abort();
    this.#stopReading();
    this.unread ||= this.#isReading;
    this.#isReading = false;
    this.#onWork('');
    this.#onChange();
  }

  clear(): void {
    this.#mapping.abort();
    this.#stopReading();
    this.#isReading = false;
    this.trouble = [];
    forgetChoices();
    this.open({ name: unnamed, cases: [], labels: [], channels: [], warnings: [] });
    this.#onWork('');
    this.#onChange();
  }

  /** The labelled cases of the page. */
  dataset(): Dataset {
    const { name, ignoreLabel, regions } = state;
    return {
      name,
      cases: state.cases.filter(({ label }) => label).map(({ part: _part, ...item }) => item),
      labels: ignoreLabel === this.#classes.length - 1 ? this.#classes.slice(0, -1) : this.#classes,
      channels: state.channels,
      warnings: [],
      ...(regions && { regions }),
      ...(ignoreLabel !== undefined && { ignoreLabel }),
    };
  }

  atHand(): AtHand {
    const cases = state.cases.map(({ part: _part, ...item }) => item);
    return { dataset: { ...this.dataset(), cases }, kept: { parts: this.#parts(), names: state.labels } };
  }

  /** Gives a case another label, or none; what the names of the files said is settled by that. */
  async choose(id: string, label: VolumeFile | undefined): Promise<void> {
    const item = caseOf(id);
    if (!item) return;
    const { subject, images } = item;
    this.#decided.delete(id);
    usedByHand.delete(images);
    this.byHand.add('labels chosen by hand');
    state.labels = withoutNameless(state.labels, this.#classes.length);
    replaceCases(new Map([[item, label ? { ...item, label } : { id, subject, images, part: 'unused' }]]));
    this.trouble = [];
    await this.check();
  }

  /** Says what a case is for, whatever is found in the files. */
  use(id: string, part: PageCase['part']): void {
    const item = caseOf(id);
    if (!item) return;
    item.part = part;
    usedByHand.add(item.images);
    this.#decided.add(id);
    this.byHand.add('what cases are used for');
    changed();
  }

  /**
   * Gives cases the labels that were drawn on them, and classes their names.
   * @param labels undefined for none
   */
  async annotate(
    labels: ReadonlyMap<Images, VolumeFile | undefined>,
    names: readonly string[],
  ): Promise<void> {
    if (!state.cases.some(({ images }) => labels.has(images))) return; // other data meanwhile
    state.cases = state.cases.map(({ label: before, ...item }): PageCase => {
      const label = labels.has(item.images) ? labels.get(item.images) : before;
      return label ? { ...item, label } : { ...item, part: 'unused' };
    });
    state.ignoreLabel ??= unknownVoxel;
    this.#classes = told(names);
    state.labels = [...names];
    this.#offer();
    this.trouble = [];
    await this.check();
  }

  /** Labels that are made here can be chosen as well as those that were given, as long as a case has them. */
  #offer(): void {
    const used = new Set(state.cases.map(({ label }) => label));
    const given = this.labels.filter(({ source }) => {
      const file = source as VolumeFile;
      return !this.#made.has(file) || used.has(file);
    });
    const known = new Set(given.map(({ source }) => source));
    const added = state.cases.flatMap(({ id, label }) =>
      label && !known.has(label) ? [{ path: `${id}: ${sourceName(label)}`, source: label }] : [],
    );
    for (const { source } of added) this.#made.add(source);
    this.labels = [...given, ...added];
  }

  /** Calls a class as the person wants. */
  name(value: number, name: string): void {
    state.labels = classNames(classCount()).map((before, at) => (at === value ? name : before));
    this.byHand.add('names of classes');
    chooseAugmentation();
    changed();
  }

  /** Unknown voxels are of no class; what their value was called is forgotten where it was the last. */
  async ignore(value: number | undefined): Promise<void> {
    const { ignoreLabel: before, labels } = state;
    state.ignoreLabel = value;
    this.byHand.add('the label value of unknown voxels');
    const told = named(
      labels.map((name, at) => (at === before && name === 'ignore' ? `class ${at}` : name)),
      this.#classes,
    );
    const known = value === told.length - 1 ? told.slice(0, -1) : told;
    state.labels = withoutNameless(known, this.#classes.length);
    await this.check();
  }

  /**
   * Replaces the values of all labels.
   * @param given value to class, or to `unknownVoxel`; values that are not mentioned become background
   */
  async map(given: ReadonlyMap<number, number>): Promise<void> {
    const { ignoreLabel, cases: before } = state;
    const classes = new Map(given);
    if (ignoreLabel !== undefined) classes.set(ignoreLabel, unknownVoxel);
    const cases = before.filter(({ label }) => label);
    const { signal } = (this.#mapping = new AbortController());
    const onProgress = this.counted('Mapping', 'labels');
    onProgress(0, cases.length);
    const files = await dataJob(
      'map',
      { labels: cases.map(({ label }) => label!), classes, others: 'background' },
      { onProgress, signal },
    )
      .catch((error: unknown) => {
        if (!signal.aborted) throw error;
      })
      .finally(() => this.#onWork(''));
    if (!files || signal.aborted || state.cases !== before) return; // others are there by now
    replaceCases(new Map(cases.map((item, index) => [item, { ...item, label: files[index]! }])));
    this.#offer();
    this.byHand.add('classes of values');
    this.#classes = [];
    state.labels = [];
    state.regions = undefined;
    state.ignoreLabel = [...classes.values()].includes(unknownVoxel) ? unknownVoxel : undefined;
    this.trouble = [];
    await this.check();
  }

  /** What labelled cases are for, where that is decided. */
  #parts(): Map<string, PageCase['part']> {
    const decided = state.cases.filter(({ id, label }) => label && this.#decided.has(id));
    return new Map(decided.map(({ id, part }) => [id, part] as const));
  }

  /**
   * Reads what has not been read yet, and decides on preparation, settings, and the parts of cases that have none yet.
   * @returns whether it came to its end, or a newer one in its place
   */
  check(): Promise<boolean> {
    const mine = this.#check();
    this.#newest = mine;
    return mine;
  }

  /** Of a check that was ended: whether a newer one comes to its end. */
  #ended(): Promise<boolean> | false {
    return this.#newest ?? false;
  }

  async #check(): Promise<boolean> {
    this.#reading.abort();
    this.#reading = new AbortController();
    const { signal } = this.#reading;
    const dataset = this.dataset();
    this.unread = false;
    this.#isReading = dataset.cases.length > 0;
    if (!this.#isReading) {
      state.report = undefined;
      this.values = undefined;
      forgetDecision();
      this.#onWork('');
      changed();
      this.#onChange();
      return true;
    }
    this.trouble = this.trouble.filter((text) => text !== this.#failure);
    try {
      const onProgress = this.counted('Reading', 'cases');
      // The first case may take its time.
      const soon = setTimeout(() => signal.aborted || onProgress(0, dataset.cases.length), unsaid);
      const keys = dataset.cases.map(keyOfFiles);
      const found = await dataJob('check', { dataset, keys }, { onProgress, signal }).finally(() =>
        clearTimeout(soon),
      );
      const gpu = await device();
      if (signal.aborted) return this.#ended();
      state.report = found.report;
      // Drawings need not show each class that there is.
      const isKnown = (value: number): boolean =>
        dataset.labels.length === 0 && state.labels[value] !== undefined;
      this.values = [...(found.values?.keys() ?? [])].every(isKnown) ? undefined : found.values;
      const answer = await aboutSeries(signal, this.counted('Reading', 'series'));
      if (signal.aborted) return this.#ended();
      if (!answer) {
        this.cancel();
        return false;
      }
      if ('cases' in answer) {
        for (const [before, { images }] of answer.cases) setOrigin(images, before.images);
        replaceCases(answer.cases);
        return this.check();
      }
      if ('channels' in answer) state.channels = answer.channels;
      state.labels = classNames(classCount());
      divide(this.#parts());
      // A case that cannot be used now may be of use with another label.
      const bad = badCases(found.report);
      const usable = state.cases.filter(({ id, label }) => label && !bad.has(id));
      this.#decided = new Set(usable.map(({ id }) => id));
      // Planning a training takes long enough to be a task of its own.
      await nextTask();
      if (signal.aborted) return this.#ended();
      chooseDefaults(gpu, state.channels);
      await nextTask();
      if (signal.aborted) return this.#ended();
    } catch (error) {
      if (signal.aborted) return this.#ended();
      this.unread = true;
      this.#failure = messageOf(error);
      this.trouble.push(this.#failure);
    }
    this.#isReading = false;
    this.#onWork('');
    changed();
    this.#onChange();
    return true;
  }

  /** Tells how far something is. */
  counted(verb: string, what: string): (loaded: number, total: number) => void {
    return (loaded, total) => this.#onWork(`${verb} ${loaded} of ${total} ${what}`);
  }
}

/** Calls classes otherwise, background first. */
export function nameClasses(names: readonly string[]): void {
  state.labels = [...names];
  chooseAugmentation();
  changed();
}

/** Of the cases of which a person has said in this visit what they are for. */
const usedByHand = new WeakSet<Images>();

/** Uses cases for what they were used for before, but where a person has said otherwise, and divides those that are new. */
export function takeParts(before: ReadonlyMap<Images, PageCase['part']>): void {
  if (before.size === 0) return;
  const parts = new Map<string, PageCase['part']>();
  for (const { id, images, part } of state.cases) {
    const its = part === 'unused' || usedByHand.has(images) ? part : before.get(images);
    if (its) parts.set(id, its);
  }
  divide(parts);
  state.cases = [...state.cases];
  changed();
}

/** Puts other cases in the place of some: the list is a new one, by which who has waited meanwhile sees it. */
function replaceCases(others: ReadonlyMap<PageCase, PageCase>): void {
  state.cases = state.cases.map((item) => others.get(item) ?? item);
}

/** The case as it is now: it may have got another label since it was shown. */
const caseOf = (id: string): PageCase | undefined => state.cases.find((item) => item.id === id);

/** Classes as far as they are told: not where the last one has no name, as there may be more. */
export const told = (names: readonly string[]): readonly string[] =>
  nameless.test(names.findLast((name) => name !== 'ignore') ?? '') ? [] : names;

/**
 * Names of classes up to the last that has one of its own: whether there are more is found in the labels.
 * @param count how many stay at least
 */
function withoutNameless(names: readonly string[], count = 0): string[] {
  const end = names.findLastIndex((name, value) => name !== `class ${value}` && name !== 'ignore') + 1;
  return names.slice(0, Math.max(end, count));
}

/** Each file that was given, by a number of its own. */
const numbers = new WeakMap<object, number>();
let count = 0;

/** What tells the files of a case from those of all others. */
const keyOfFiles = ({ images, label }: Case): string =>
  [...images, ...(label ? [label] : [])]
    .map((file) => {
      const number = numbers.get(file as VolumeFile) ?? ++count;
      numbers.set(file as VolumeFile, number);
      return number;
    })
    .join();
