/** Files of a person on their way to become the cases of the page: matched, and asked about. */
import {
  InvalidDataset,
  openDataset,
  pairDataset,
  volumesAmong,
  type Dataset,
  type FileEntry,
} from 'unet3d-gpu/worker';
import { commonFolder, joined } from './datasets.ts';
import { withoutDicom } from './dicom.ts';
import { leftOut } from './dom.ts';
import { askWhatStays, oneLabelEach } from './intake-questions.ts';
import { drawnCases } from './annotate/kept-drawings.ts';
import { LabelledCases } from './labelled-cases.ts';
import { SingleFiles, type Kind } from './single-files.ts';
import { state, type PageCase } from './state.ts';

const unnamed = 'your data';

interface Listeners {
  readonly onChange: () => void;
  /** @param text what is being done, and '' at its end */
  readonly onWork: (text: string) => void;
  /** There are other cases, which may have been drawn on before. */
  readonly onCases: () => Promise<void>;
}

export class Intake {
  readonly cases: LabelledCases;
  /** What was given file by file, to be matched. */
  readonly #single = new SingleFiles();
  /** To which those are added. */
  #base: Dataset | undefined;
  /** Ends what is done before there are other cases. */
  #stop = new AbortController();
  /** What the data are called where no file tells. */
  #called = unnamed;
  readonly #listeners: Listeners;

  constructor(listeners: Listeners) {
    this.#listeners = listeners;
    this.cases = new LabelledCases(listeners.onChange, listeners.onWork);
  }

  async take(files: readonly FileEntry[], as: Kind): Promise<void> {
    const converted = await withoutDicom(files, {
      signal: this.#stop.signal,
      onFolder: this.cases.counted('Converting', 'folders of DICOM files'),
    });
    if (!converted) return;
    this.#listeners.onWork('');
    await this.#takeVolumes(converted.entries, as, converted.notes);
  }

  /** Ends what is being done: what was there stays, and cases that were to be read can be read later. */
  cancel(): void {
    this.#stop.abort();
    this.#stop = new AbortController();
    this.cases.cancel();
  }

  /** Goes on reading where that was cancelled. */
  async readOn(): Promise<void> {
    await this.#settle(this.cases.unread?.parts);
  }

  async #takeVolumes(given: readonly FileEntry[], as: Kind, notes: readonly string[]): Promise<void> {
    const isDescribed = given.some(({ path }) => /(^|\/)dataset\.json$/.test(path));
    const trouble = [...notes, ...(isDescribed ? [] : leftOut(given))];
    if (!isDescribed && volumesAmong(given).length === 0) {
      this.cases.trouble = [
        ...trouble,
        'There is no volume among these. Give NIfTI files, which end in .nii or .nii.gz, or DICOM series.',
      ];
      return this.#listeners.onChange();
    }
    const files = isDescribed ? given : await oneLabelEach(given);
    if (!files || !(await this.#makeRoom(commonFolder(given) ?? unnamed, as))) return;
    this.cases.trouble = trouble;
    if (isDescribed) {
      await this.#open(() => openDataset(files));
      return;
    }
    if (as === 'any' && this.#single.isEmpty) {
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

  /** The scans that were drawn on, as far as this browser keeps them; the drawings are their labels. */
  takeDrawn(): Promise<void> {
    const name = 'drawn scans';
    return this.takeMade(name, async () => {
      const cases = [...(await drawnCases()).values()];
      return { name, cases, labels: [], channels: [], warnings: [] };
    });
  }

  /** As `take`, of a data set that needs no files. */
  async takeMade(name: string, make: (signal: AbortSignal) => Promise<Dataset>): Promise<void> {
    const { signal } = this.#stop;
    this.#listeners.onWork(`Making ${name}`);
    const dataset = await make(signal)
      .catch((error: unknown) => {
        if (!signal.aborted) throw error;
      })
      .finally(() => this.#listeners.onWork(''));
    if (!dataset || signal.aborted || !(await this.#makeRoom(name, 'any'))) return;
    this.cases.trouble = [];
    await this.#open(() => Promise.resolve(dataset));
  }

  /** Data that were here before, with the parts that their cases had; whether others have not come in between. */
  async restore(dataset: Dataset, parts: ReadonlyMap<string, PageCase['part']>): Promise<boolean> {
    this.#base = undefined;
    this.cases.trouble = [];
    return this.#open(() => Promise.resolve(dataset), false, parts);
  }

  clear(): void {
    this.#single.clear();
    this.#base = undefined;
    this.cases.clear();
  }

  /** Asks what is to become of the cases that are there; whether to go on. */
  async #makeRoom(name: string, as: Kind): Promise<boolean> {
    const { length } = state.cases;
    // Images and labels may be given one after another.
    const goesOn = !this.#single.isEmpty && (as !== 'any' || !state.cases.some(({ label }) => label));
    if (length === 0 || goesOn) {
      if (length === 0) this.#called = name;
      return true;
    }
    const answer = await askWhatStays();
    if (answer === undefined) return false;
    this.#base = answer === 'add' ? { ...this.cases.dataset(), cases: state.cases } : undefined;
    this.#single.clear();
    this.#called = name;
    if (answer === 'replace') {
      state.chosen = {};
      state.labels = [];
      state.regions = undefined;
    }
    return true;
  }

  /** Files one after another: images, then their labels, or the other way round. */
  async #collect(volumes: readonly FileEntry[], as: Kind): Promise<void> {
    const single = this.#single;
    single.add(volumes, as);
    if (single.labels.length > 0 && single.images.length > 0) {
      const { ignoreLabel } = state;
      const options = ignoreLabel === undefined ? {} : { ignoreLabel };
      await this.#open(() => pairDataset(single.images, single.labels, options), true);
      return;
    }
    this.cases.trouble.push(
      single.images.length === 0
        ? 'Labels only: add their images.'
        : 'Images without labels: add the labels to train, or go to "Annotate" to draw some, or to "Use" to segment them.',
    );
    this.cases.set([...(this.#base?.cases ?? []), ...single.cases()]);
    this.#listeners.onChange();
    await this.#listeners.onCases();
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
      if (!isMatched) this.#single.clear();
      this.cases.open(dataset);
      return await this.#settle(parts);
    } catch (error) {
      if (!(error instanceof InvalidDataset)) throw error;
      this.cases.trouble.push(error.message);
      if (isMatched) {
        this.cases.trouble.push('Choose the label of each image below.');
        this.cases.labels = this.#single.labels;
        this.cases.set([...(this.#base?.cases ?? []), ...this.#single.guessed()]);
        return this.#settle();
      }
      this.#listeners.onWork('');
      this.#listeners.onChange();
      return false;
    }
  }

  /** As `check`, of cases that have just come. */
  async #settle(parts?: ReadonlyMap<string, PageCase['part']>): Promise<boolean> {
    const isThere = await this.cases.check(parts);
    if (isThere) await this.#listeners.onCases();
    return isThere;
  }
}
