/** The cases of the page with their labels: each change of these is checked, and what follows from it decided. */
import { sourceName, type Case, type Dataset, type FileEntry } from 'unet3d-gpu/worker';
import { unknownVoxel } from './annotate/drawing.ts';
import { dataJob } from './data-client.ts';
import { device } from './device.ts';
import { messageOf, nextTask } from './dom.ts';
import { takesTimeApart } from './intake-questions.ts';
import { chooseDefaults, classCount, divide } from './planning.ts';
import {
  badCases,
  changed,
  classNames,
  replaceCases,
  state,
  type Images,
  type PageCase,
  type VolumeFile,
} from './state.ts';

/** The parts that cases keep when they are checked. */
interface Parts {
  readonly parts: ReadonlyMap<string, PageCase['part']> | undefined;
}

export class LabelledCases {
  /** Names where a dataset.json tells them, as the cases have them. */
  #classes: readonly string[] = [];
  /** Labels that were drawn. */
  #drawn = new Set<VolumeFile>();
  #reading = new AbortController();
  #mapping = new AbortController();
  /** The check that is going on. */
  #begun: Parts | undefined;
  readonly #onChange: () => void;
  readonly #onWork: (text: string) => void;

  /** The check that was cancelled: some cases have not been read. */
  unread: Parts | undefined;
  /** Labels to choose from. */
  labels: readonly FileEntry[] = [];
  /** What there is to say about the files, one sentence each. */
  trouble: string[] = [];
  /** Values of the labels with the number of cases that hold them, where some are no classes. */
  values: ReadonlyMap<number, number> | undefined;

  /** @param onWork is told what is being done, and '' at its end */
  constructor(onChange: () => void, onWork: (text: string) => void) {
    this.#onChange = onChange;
    this.#onWork = onWork;
  }

  /** Other cases, of which nothing is known yet. */
  set(cases: readonly Case[]): void {
    state.cases = cases.map((item): PageCase => {
      const { label, ...rest } = item;
      return {
        ...rest,
        images: item.images as VolumeFile[],
        ...(label ? { label: label as VolumeFile } : {}),
        part: 'unused',
      };
    });
    state.ignoreLabel = undefined;
    state.report = undefined;
    state.decision = undefined;
    this.values = undefined;
    this.unread = undefined;
    state.predictions.clear();
    changed();
  }

  /** As `set`, with all that a data set tells of its cases. */
  open(dataset: Dataset): void {
    state.name = dataset.name;
    this.#classes = dataset.labels;
    state.channels = dataset.channels;
    state.labels = [...dataset.labels];
    state.regions = dataset.regions;
    this.set(dataset.cases);
    state.ignoreLabel = dataset.ignoreLabel;
    this.labels = dataset.cases.flatMap(({ label }) =>
      label ? [{ path: sourceName(label), source: label }] : [],
    );
    this.trouble.push(...dataset.warnings);
  }

  /** Ends the reading of cases, or the mapping of their labels. */
  cancel(): void {
    this.#mapping.abort();
    this.#reading.abort();
    this.unread = this.#begun;
    this.#begun = undefined;
    this.#onWork('');
    this.#onChange();
  }

  clear(): void {
    this.#reading.abort();
    this.#begun = undefined;
    this.labels = [];
    this.trouble = [];
    this.#classes = [];
    state.channels = [];
    state.labels = [];
    state.regions = undefined;
    state.chosen = {};
    this.set([]);
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

  /** Gives a case another label, or none; what the names of the files said is settled by that. */
  async choose(item: PageCase, label: VolumeFile | undefined): Promise<void> {
    const parts = partsOf(state.cases.filter((other) => other !== item));
    const { id, subject, images } = item;
    replaceCases(new Map([[item, label ? { ...item, label } : { id, subject, images, part: 'unused' }]]));
    this.trouble = [];
    await this.check(parts);
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
    const parts = partsOf(state.cases);
    state.cases = state.cases.map(({ label: before, ...item }): PageCase => {
      const label = labels.has(item.images) ? labels.get(item.images) : before;
      return label ? { ...item, label } : { ...item, part: 'unused' };
    });
    state.ignoreLabel ??= unknownVoxel;
    this.#classes = names;
    state.labels = [...names];
    this.#offer(labels);
    this.trouble = [];
    await this.check(parts);
  }

  /** Drawn labels can be chosen as well, in the place of those that they were before. */
  #offer(drawn: ReadonlyMap<Images, VolumeFile | undefined>): void {
    const used = new Set(state.cases.map(({ label }) => label));
    const given = this.labels.filter(({ source }) => {
      const file = source as VolumeFile;
      return !this.#drawn.has(file) || used.has(file);
    });
    const known = new Set(given.map(({ source }) => source));
    const added = state.cases.flatMap(({ id, images, label }) =>
      label && drawn.has(images) && !known.has(label)
        ? [{ path: `${id}: ${sourceName(label)}`, source: label }]
        : [],
    );
    for (const { source } of added) this.#drawn.add(source);
    this.labels = [...given, ...added];
  }

  /** Unknown voxels are of no class; what their value was called is forgotten where it was the last. */
  async ignore(value: number | undefined): Promise<void> {
    state.ignoreLabel = value;
    state.labels = this.#classes.slice(0, value === this.#classes.length - 1 ? -1 : undefined);
    await this.check(partsOf(state.cases));
  }

  /**
   * Replaces the values of all labels.
   * @param given value to class, or to `unknownVoxel`; values that are not mentioned become background
   */
  async map(given: ReadonlyMap<number, number>): Promise<void> {
    const { ignoreLabel, cases: before } = state;
    const parts = partsOf(before);
    const classes = new Map(given);
    if (ignoreLabel !== undefined) classes.set(ignoreLabel, unknownVoxel);
    const cases = before.filter(({ label }) => label);
    const { signal } = (this.#mapping = new AbortController());
    const onProgress = this.counted('Mapping', 'labels');
    onProgress(0, cases.length);
    const files = await dataJob(
      'map',
      { labels: cases.map(({ label }) => label!), classes },
      { onProgress, signal },
    )
      .catch((error: unknown) => {
        if (!signal.aborted) throw error;
      })
      .finally(() => this.#onWork(''));
    if (!files || signal.aborted || state.cases !== before) return; // others are there by now
    this.labels = cases.map(({ id }, index) => ({
      path: `${id}: ${files[index]!.name}`,
      source: files[index]!,
    }));
    replaceCases(new Map(cases.map((item, index) => [item, { ...item, label: files[index]! }])));
    this.#classes = [];
    state.labels = [];
    state.regions = undefined;
    state.ignoreLabel = [...classes.values()].includes(unknownVoxel) ? unknownVoxel : undefined;
    this.trouble = [];
    await this.check(parts);
  }

  /**
   * Reads what has not been read yet, and decides on parts, preparation and settings.
   * @param parts of cases that keep them
   * @returns whether it came to its end, without a newer one
   */
  async check(parts?: ReadonlyMap<string, PageCase['part']>): Promise<boolean> {
    this.#reading.abort();
    this.#reading = new AbortController();
    const { signal } = this.#reading;
    const dataset = this.dataset();
    this.unread = undefined;
    this.#begun = { parts };
    if (dataset.cases.length === 0) {
      this.#begun = undefined;
      this.#onWork('');
      this.#onChange();
      return true;
    }
    const problems: string[] = [];
    try {
      const onProgress = this.counted('Reading', 'cases');
      // The first case may take its time.
      const soon = setTimeout(() => signal.aborted || onProgress(0, dataset.cases.length), 300);
      const found = await dataJob('check', { dataset }, { onProgress, signal }).finally(() =>
        clearTimeout(soon),
      );
      const gpu = await device();
      if (signal.aborted) return false;
      state.report = found.report;
      this.values = found.values;
      if (await takesTimeApart(signal, this.counted('Reading', 'series'))) return this.check(parts);
      if (signal.aborted) return false;
      state.labels = classNames(classCount());
      divide(parts);
      // Planning a training takes long enough to be a task of its own.
      await nextTask();
      if (signal.aborted) return false;
      chooseDefaults(gpu, state.channels);
      await nextTask();
      if (signal.aborted) return false;
    } catch (error) {
      if (signal.aborted) return false; // for a newer one
      problems.push(messageOf(error));
    }
    this.trouble.push(...problems);
    this.#begun = undefined;
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

/** What labelled cases are for, but for those that could not be used: a person may have chosen it. */
function partsOf(cases: readonly PageCase[]): Map<string, PageCase['part']> {
  const bad = badCases(state.report);
  return new Map(
    cases.filter(({ id, label }) => label && !bad.has(id)).map(({ id, part }) => [id, part] as const),
  );
}
