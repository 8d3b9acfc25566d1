/** Files of a person on their way to become the cases of the page: read, matched, asked about, checked. */
import {
  InvalidDataset,
  looksLikeLabel,
  openDataset,
  pairDataset,
  sourceName,
  stemOf,
  volumePattern,
  volumesAmong,
  type Case,
  type Dataset,
  type FileEntry,
} from 'unet3d-gpu/worker';
import { ask } from './ask.ts';
import { dataJob } from './data-client.ts';
import { joined, rivals, withoutSides } from './datasets.ts';
import { device } from './device.ts';
import { withoutDicom } from './dicom.ts';
import { counted, leftOut, messageOf } from './dom.ts';
import { chooseDefaults, classCount, divide } from './planning.ts';
import {
  badCases,
  changed,
  classNames,
  state,
  type Images,
  type PageCase,
  type VolumeFile,
} from './state.ts';

/** What the person said the files are. */
export type Kind = 'any' | 'images' | 'labels';

/** What unknown voxels hold in labels that are written anew. */
export const unknownValue = 255;

const unnamed = 'your data';

interface Listeners {
  readonly onChange: () => void;
  /** @param text what is being done, and '' at its end */
  readonly onWork: (text: string) => void;
  /** There are other cases, which may have been drawn on before. */
  readonly onCases: () => Promise<void>;
}

export class Intake {
  /** Images and labels that were given file by file, to be matched. */
  #images: FileEntry[] = [];
  #labels: FileEntry[] = [];
  /** To which those are added. */
  #base: Dataset | undefined;
  /** Names where a dataset.json tells them, as the cases of the page have them. */
  #classes: readonly string[] = [];
  /** What the data are called where no file tells. */
  #called = unnamed;
  #reading = new AbortController();
  readonly #onChange: Listeners['onChange'];
  readonly #onWork: Listeners['onWork'];
  readonly #onCases: Listeners['onCases'];

  /** Labels to choose from. */
  labels: readonly FileEntry[] = [];
  /** What there is to say about the files, one sentence each. */
  trouble: string[] = [];
  /** Values of the labels with the number of cases that hold them, where some are no classes. */
  values: ReadonlyMap<number, number> | undefined;

  constructor({ onChange, onWork, onCases }: Listeners) {
    this.#onChange = onChange;
    this.#onWork = onWork;
    this.#onCases = onCases;
  }

  async take(files: readonly FileEntry[], as: Kind): Promise<void> {
    const { entries, notes } = await withoutDicom(
      files,
      this.#counted('Converting', 'folders of DICOM files'),
    );
    this.#onWork('');
    await this.#takeVolumes(entries, as, notes);
  }

  async #takeVolumes(given: readonly FileEntry[], as: Kind, notes: readonly string[]): Promise<void> {
    const isDescribed = given.some(({ path }) => /(^|\/)dataset\.json$/.test(path));
    const trouble = [...notes, ...(isDescribed ? [] : leftOut(given))];
    if (!isDescribed && volumesAmong(given).length === 0) {
      this.trouble = [
        ...trouble,
        'There is no volume among these. Give NIfTI files, which end in .nii or .nii.gz, or DICOM series.',
      ];
      return this.#onChange();
    }
    const files = isDescribed ? given : await this.#oneLabelEach(given);
    if (!files || !(await this.#makeRoom(commonFolder(given) ?? unnamed, as))) return;
    this.trouble = trouble;
    if (isDescribed) {
      await this.#open(() => openDataset(files));
      return;
    }
    if (as === 'any' && !this.#isCollecting()) {
      const dataset = await openDataset(files).catch((error: unknown) => {
        if (!(error instanceof InvalidDataset)) throw error;
        return undefined; // no layout of folders: perhaps by the names of the files
      });
      if (dataset) {
        await this.#open(() => Promise.resolve(dataset));
        return;
      }
    }
    return this.#collect(volumesAmong(files), as);
  }

  /** As `take`, of a data set that needs no files. */
  async takeMade(name: string, open: () => Promise<Dataset>): Promise<void> {
    if (!(await this.#makeRoom(name, 'any'))) return;
    this.trouble = [];
    await this.#open(open);
  }

  /** Data that were here before, with the parts that their cases had; whether others have not come in between. */
  async restore(dataset: Dataset, parts: ReadonlyMap<string, PageCase['part']>): Promise<boolean> {
    this.#base = undefined;
    this.trouble = [];
    return this.#open(() => Promise.resolve(dataset), false, parts);
  }

  clear(): void {
    this.#reading.abort();
    Object.assign(this, { labels: [], trouble: [], values: undefined });
    this.#images = [];
    this.#labels = [];
    this.#base = undefined;
    this.#classes = [];
    state.channels = [];
    state.labels = [];
    state.regions = undefined;
    state.chosen = {};
    this.#setCases([]);
    this.#onWork('');
    this.#onChange();
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
    state.ignoreLabel ??= unknownValue;
    this.#classes = names;
    state.labels = [...names];
    this.labels = state.cases.flatMap(({ id, label }) =>
      label ? [{ path: `${id}: ${sourceName(label)}`, source: label }] : [],
    );
    this.trouble = [];
    await this.check(parts);
  }

  /** Unknown voxels are of no class; what their value was called is forgotten where it was the last. */
  async ignore(value: number | undefined): Promise<void> {
    state.ignoreLabel = value;
    state.labels = this.#classes.slice(0, value === this.#classes.length - 1 ? -1 : undefined);
    await this.check(partsOf(state.cases));
  }

  /**
   * Replaces the values of all labels.
   * @param given value to class, or to `unknownValue`; values that are not mentioned become background
   */
  async map(given: ReadonlyMap<number, number>): Promise<void> {
    const { ignoreLabel, cases: before } = state;
    const parts = partsOf(before);
    const classes = new Map(given);
    if (ignoreLabel !== undefined) classes.set(ignoreLabel, unknownValue);
    const cases = before.filter(({ label }) => label);
    const files = await dataJob(
      'map',
      { labels: cases.map(({ label }) => label!), classes },
      { onProgress: this.#counted('Mapping', 'labels') },
    ).finally(() => this.#onWork(''));
    if (state.cases !== before) return; // others are there by now
    this.labels = cases.map(({ id }, index) => ({
      path: `${id}: ${files[index]!.name}`,
      source: files[index]!,
    }));
    replaceCases(new Map(cases.map((item, index) => [item, { ...item, label: files[index]! }])));
    this.#classes = [];
    state.labels = [];
    state.regions = undefined;
    state.ignoreLabel = [...classes.values()].includes(unknownValue) ? unknownValue : undefined;
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
    const dataset = this.#dataset();
    if (dataset.cases.length === 0) {
      this.#onWork('');
      this.#onChange();
      return true;
    }
    const problems: string[] = [];
    try {
      const onProgress = this.#counted('Reading', 'cases');
      const found = await dataJob('check', { dataset }, { onProgress, signal });
      const gpu = await device();
      if (signal.aborted) return false;
      state.report = found.report;
      this.values = found.values;
      if (await this.#takesTimeApart(signal)) return this.check(parts);
      if (signal.aborted) return false;
      state.labels = classNames(classCount());
      divide(parts);
      chooseDefaults(gpu, state.channels);
    } catch (error) {
      if (signal.aborted) return false; // for a newer one
      problems.push(messageOf(error));
    }
    this.trouble.push(...problems);
    this.#onWork('');
    changed();
    this.#onChange();
    return true;
  }

  #counted(verb: string, what: string): (loaded: number, total: number) => void {
    return (loaded, total) => this.#onWork(`${verb} ${loaded} of ${total} ${what}`);
  }

  /** The labelled cases of the page. */
  #dataset(): Dataset {
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

  /** Whether images and labels are given one after another, which belong to each other. */
  #isCollecting = (): boolean => this.#images.length + this.#labels.length > 0;

  /** Asks what is to become of the cases that are there; whether to go on. */
  async #makeRoom(name: string, as: Kind): Promise<boolean> {
    const { length } = state.cases;
    const goesOn = this.#isCollecting() && (as !== 'any' || !state.cases.some(({ label }) => label));
    if (length === 0 || goesOn) {
      if (length === 0) this.#called = name;
      return true;
    }
    const cases = length === 1 ? 'a case' : `${length} cases`;
    const answer = await ask(`There ${length === 1 ? 'is' : 'are'} ${cases} of ${state.name} already`, [
      ['replace', 'Replace them'],
      ['add', 'Add to them'],
    ]);
    if (answer === undefined) return false;
    this.#base = answer === 'add' ? { ...this.#dataset(), cases: state.cases } : undefined;
    this.#images = [];
    this.#labels = [];
    this.#called = name;
    if (answer === 'replace') {
      state.chosen = {};
      state.labels = [];
      state.regions = undefined;
    }
    return true;
  }

  /** Of several folders with labels of the same images, the one that the person wants; undefined for none of them. */
  async #oneLabelEach(files: readonly FileEntry[]): Promise<readonly FileEntry[] | undefined> {
    const folders = rivals(files.filter(({ path }) => volumePattern.test(path)));
    if (folders.size === 0) return files;
    const chosen = await ask(
      'Which labels are to be learnt?',
      [...folders].map(([folder, count]) => [folder, `${folder}: ${counted(count, 'label')}`] as const),
      'Several folders hold labels of the same images.',
    );
    if (chosen === undefined) return undefined;
    return withoutSides(
      files,
      [...folders.keys()].filter((folder) => folder !== chosen),
    );
  }

  /** Files one after another: images, then their labels, or the other way round. */
  async #collect(volumes: readonly FileEntry[], as: Kind): Promise<void> {
    const add = (to: readonly FileEntry[], more: readonly FileEntry[]): FileEntry[] => {
      const paths = new Set(more.map(({ path }) => path));
      return [...to.filter(({ path }) => !paths.has(path)), ...more];
    };
    const isLabel = ({ path }: FileEntry): boolean =>
      as === 'labels' || (as === 'any' && looksLikeLabel(path));
    this.#images = add(
      this.#images,
      volumes.filter((file) => !isLabel(file)),
    );
    this.#labels = add(this.#labels, volumes.filter(isLabel));
    if (this.#labels.length > 0 && this.#images.length > 0) {
      const { ignoreLabel } = state;
      const options = ignoreLabel === undefined ? {} : { ignoreLabel };
      await this.#open(() => pairDataset(this.#images, this.#labels, options), true);
      return;
    }
    this.trouble.push(
      this.#images.length === 0
        ? 'Labels only: add their images.'
        : 'Images without labels: add the labels to train, or go to "Annotate" to draw some, or to "Use" to segment them.',
    );
    this.#setCases([...(this.#base?.cases ?? []), ...bare(this.#images)]);
    this.#onChange();
    await this.#onCases();
  }

  /** Whether the data set is there at the end. */
  async #open(
    open: () => Promise<Dataset>,
    isMatched = false,
    parts?: ReadonlyMap<string, PageCase['part']>,
  ): Promise<boolean> {
    try {
      const opened = await open();
      const named = { ...opened, name: opened.name === 'dataset' ? this.#called : opened.name };
      const dataset = this.#base ? joined(this.#base, named) : named;
      if (!isMatched) this.#images = this.#labels = [];
      state.name = dataset.name;
      this.#classes = dataset.labels;
      state.channels = dataset.channels;
      state.labels = [...dataset.labels];
      state.regions = dataset.regions;
      this.#setCases(dataset.cases);
      state.ignoreLabel = dataset.ignoreLabel;
      this.labels = dataset.cases.flatMap(({ label }) =>
        label ? [{ path: sourceName(label), source: label }] : [],
      );
      this.trouble.push(...dataset.warnings);
      return await this.#settle(parts);
    } catch (error) {
      if (!(error instanceof InvalidDataset)) throw error;
      this.trouble.push(error.message);
      if (isMatched) {
        this.trouble.push('Choose the label of each image below.');
        this.labels = this.#labels;
        this.#setCases([...(this.#base?.cases ?? []), ...this.#guessed()]);
        return this.#settle();
      }
      this.#onWork('');
      this.#onChange();
      return false;
    }
  }

  /** As `check`, of cases that have just come. */
  async #settle(parts?: ReadonlyMap<string, PageCase['part']>): Promise<boolean> {
    const isThere = await this.check(parts);
    if (isThere) await this.#onCases();
    return isThere;
  }

  /** Images, each with the only label of its name where there is one. */
  #guessed(): Case[] {
    return bare(this.#images).map((item) => {
      const [label, ...others] = this.#labels.filter(({ path }) => stemOf(path) === item.id);
      return label && others.length === 0 ? { ...item, label: label.source } : item;
    });
  }

  #setCases(cases: readonly Case[]): void {
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
    state.predictions.clear();
    changed();
  }

  /**
   * Asks whether files with several volumes are channels of an image or moments in time; of those one volume is made.
   * @returns whether the cases have changed by that
   */
  async #takesTimeApart(signal: AbortSignal): Promise<boolean> {
    const several = new Map(
      state.report?.cases.filter(({ intensities }) => intensities.length > 1).map((item) => [item.id, item]),
    );
    const before = state.cases;
    const cases = before.filter(({ id, images }) => several.has(id) && images.length === 1);
    if (state.channels.length > 0 || cases.length === 0) return false;
    const count = several.get(cases[0]!.id)!.intensities.length;
    const answer = await ask(
      `Files hold ${count} volumes each. What are they?`,
      [
        ['channels', `${count} channels of one image`],
        ['first', 'Moments in time: use the first'],
        ['mean', 'Moments in time: use their mean'],
      ],
      'Channels, such as T1 and T2 of one scan, are read all at once by the network, also when it is used.',
    );
    if (signal.aborted) return false;
    if (answer === undefined || answer === 'channels') {
      state.channels = Array.from({ length: count }, (_, channel) => `channel ${channel + 1}`);
      return false;
    }
    const images = cases.map((item) => item.images[0]!);
    const onProgress = this.#counted('Reading', 'series');
    const files = await dataJob('reduce', { images, to: answer }, { onProgress, signal });
    if (state.cases !== before) return false; // others are there by now
    replaceCases(new Map(cases.map((item, index) => [item, { ...item, images: [files[index]!] }])));
    return true;
  }
}

/** What labelled cases are for, but for those that could not be used: a person may have chosen it. */
function partsOf(cases: readonly PageCase[]): Map<string, PageCase['part']> {
  const bad = badCases(state.report);
  return new Map(
    cases.filter(({ id, label }) => label && !bad.has(id)).map(({ id, part }) => [id, part] as const),
  );
}

/** Puts other cases in the place of some: the list is a new one, by which who has waited meanwhile sees it. */
function replaceCases(others: ReadonlyMap<PageCase, PageCase>): void {
  state.cases = state.cases.map((item) => others.get(item) ?? item);
}

/** Images as cases; where names repeat in several folders, those tell them apart. */
function bare(images: readonly FileEntry[]): Case[] {
  const times = new Map<string, number>();
  for (const { path } of images) times.set(stemOf(path), (times.get(stemOf(path)) ?? 0) + 1);
  return images.map(({ path, source }) => {
    const folders = path.split('/').slice(0, -1);
    const name = stemOf(path);
    const id = times.get(name) === 1 ? name : [...folders, name].join('_');
    return { id, subject: id, images: [source] };
  });
}

/** The folder that all files came in, if they came in one. */
function commonFolder(files: readonly FileEntry[]): string | undefined {
  const tops = new Set(files.map(({ path }) => (path.includes('/') ? path.split('/')[0] : undefined)));
  return tops.size === 1 ? [...tops][0] : undefined;
}
