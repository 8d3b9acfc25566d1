/** Files of a person on their way to become the cases of the page: matched, and asked about. */
import {
  InvalidDataset,
  openDataset,
  pairDataset,
  volumesAmong,
  type Case,
  type Dataset,
  type FileEntry,
} from 'unet3d-gpu/worker';
import { dataJob } from './data-client.ts';
import { commonFolder, joined, unknownBeside } from './datasets.ts';
import { withoutDicom } from './dicom.ts';
import { complain, counted, entriesOf, leftOut, messageOf, noVolume, unsaid } from './dom.ts';
import { listed, type Listing } from './dropped.ts';
import { askWhatStays, mayBeLost, oneLabelEach } from './intake-questions.ts';
import { hasUnsaved } from './annotate/annotations.ts';
import { namesApart, together } from './annotate/drawn-names.ts';
import { bytesOf, drawnCases, identityOf, keptDrawings, originOf } from './annotate/kept-drawings.ts';
import { LabelledCases, told, type AtHand, type Kept } from './labelled-cases.ts';
import { forgetChoices } from './planning.ts';
import { SingleFiles, type Kind } from './single-files.ts';
import { named, state, unnamed, type Images, type VolumeFile } from './state.ts';

/** What becomes of the cases that are there; files may also belong to what was given before. */
type Room = 'replace' | 'add' | 'go on';

/** Cases to which others are added. */
interface Base {
  readonly name: string;
  readonly ids: ReadonlySet<string>;
}

/** What is known of cases that are to come, beside their data set. */
interface Coming extends Pick<Kept, 'parts' | 'names'> {
  /** The files that they are made of, where these were given one by one. */
  readonly single?: SingleFiles;
  readonly base?: Base | undefined;
}

/** Cases that are to be added, with the ids of those that have the same images and stay. */
type Twins = ReadonlyMap<Case, string>;

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
  #single = new SingleFiles();
  /** The cases to which those are added. */
  #base: Base | undefined;
  /** How often there have been other cases. */
  #turn = 0;
  /** How often there had been when it was decided what becomes of those that are there. */
  #decidedAt = 0;
  /** Ends what is done before there are other cases. */
  #stop = new AbortController();
  readonly #listeners: Listeners;

  constructor(listeners: Listeners) {
    this.#listeners = listeners;
    this.cases = new LabelledCases(listeners.onChange, listeners.onWork);
  }

  async take(files: readonly FileEntry[], as: Kind): Promise<void> {
    const { signal } = this.#stop;
    // A look at the beginning of each of many files takes its time.
    const soon = setTimeout(() => signal.aborted || this.#listeners.onWork('Looking at the files'), unsaid);
    const converted = await withoutDicom(files, {
      signal,
      onFolder: this.cases.counted('Converting', 'folders of DICOM files'),
    }).finally(() => {
      clearTimeout(soon);
      if (!signal.aborted) this.#listeners.onWork('');
    });
    if (!converted || signal.aborted) return;
    await this.#takeVolumes(converted.entries, as, converted.notes);
  }

  /** As `take`, of what was dropped. */
  async takeDropped(list: Listing): Promise<void> {
    const { signal } = this.#stop;
    const { onWork } = this.#listeners;
    const files = await listed(list, signal, onWork).finally(() => signal.aborted || onWork(''));
    if (files) await this.take(entriesOf(files), 'any');
  }

  /** Ends what is being done: what was there stays, and cases that were to be read can be read later. */
  cancel(): void {
    this.#stop.abort();
    this.#stop = new AbortController();
    this.cases.cancel();
  }

  /** Goes on reading where that was cancelled. */
  async readOn(): Promise<void> {
    await this.#settle();
  }

  async #takeVolumes(given: readonly FileEntry[], as: Kind, notes: readonly string[]): Promise<void> {
    const isDescribed = given.some(({ path }) => /(^|\/)dataset\.json$/.test(path));
    const trouble = [...notes, ...(isDescribed ? [] : leftOut(given))];
    if (!isDescribed && volumesAmong(given).length === 0) {
      this.cases.trouble = [...trouble, noVolume];
      return this.#listeners.onChange();
    }
    const files = isDescribed ? given : await oneLabelEach(given);
    if (!files) return;
    const goesOn = !isDescribed && this.#single.awaits(volumesAmong(files), as);
    const room = goesOn ? 'go on' : await this.#room();
    if (!room) return;
    const name = commonFolder(given) ?? unnamed;
    this.cases.trouble = trouble;
    if (room !== 'go on' && isDescribed) return void (await this.#open(() => openDataset(files), room, name));
    if (room !== 'go on' && as === 'any') {
      const dataset = await openDataset(files).catch((error: unknown) => {
        if (!(error instanceof InvalidDataset)) throw error;
        return undefined; // no layout of folders: perhaps by the names of the files
      });
      if (dataset) return void (await this.#open(() => Promise.resolve(dataset), room, name));
    }
    return this.#collect(volumesAmong(files), as, room, name);
  }

  /**
   * The scans that were drawn on, as far as this browser keeps them; the drawings are their labels. Those whose classes are
   * not those of the newest are left out, which is told.
   */
  async takeDrawn(): Promise<void> {
    const name = 'drawn scans';
    const others: string[] = [];
    const isThere = await this.takeMade(name, async () => {
      const cases = new Map(await drawnCases());
      const { names, apart } = together(
        [],
        (await keptDrawings()).drawings.filter(({ id }) => cases.has(id)),
      );
      for (const drawing of apart) {
        const why = namesApart(drawing.names, names, 'in newer ones');
        others.push(`${cases.get(drawing.id)!.id} (${why})`);
        cases.delete(drawing.id);
      }
      return { name, cases: [...cases.values()], labels: [], channels: [], warnings: [] };
    });
    if (isThere && others.length > 0)
      complain(
        `Drawings of other classes are left out: ${others.join('; ')}. They stay as they are: to go on with them, start over and add their scans by themselves.`,
      );
  }

  /** As `take`, of a data set that needs no files; whether its cases are there at the end. */
  async takeMade(name: string, make: (signal: AbortSignal) => Promise<Dataset>): Promise<boolean> {
    const { signal } = this.#stop;
    this.#listeners.onWork(`Making ${name}`);
    const dataset = await make(signal)
      .catch((error: unknown) => {
        if (!signal.aborted) throw error;
      })
      .finally(() => this.#listeners.onWork(''));
    const room = dataset && !signal.aborted && (await this.#room());
    if (!room) return false;
    this.cases.trouble = [];
    return this.#open(() => Promise.resolve(dataset), room, name);
  }

  /** Data that were here before, with the parts that their cases had; whether others have not come in between. */
  async restore(dataset: Dataset, parts: AtHand['kept']['parts']): Promise<boolean> {
    this.cases.trouble = [];
    return this.#put(() => Promise.resolve(dataset), 'replace', { parts }, this.#turn);
  }

  /** Cases that were at hand elsewhere, with their parts: in the place of those that are there, or added to them. */
  async takeFrom({ dataset, kept }: AtHand): Promise<void> {
    const room = await this.#room();
    if (!room) return;
    this.cases.trouble = [];
    const base = room === 'add' ? allThatIsThere() : undefined;
    await this.#put(() => Promise.resolve(dataset), room, { ...kept, base });
  }

  /** Begins with nothing, once the person has said that what is here alone may go. */
  async clear(): Promise<void> {
    const lost = this.lost();
    if (lost.length > 0 && !(await mayBeLost(lost))) return;
    this.#stop.abort();
    this.#stop = new AbortController();
    this.#turn++;
    this.#single = new SingleFiles();
    this.cases.clear();
  }

  /** Asks what is to become of the cases that are there; undefined where they are to stay as they are. */
  async #room(): Promise<'replace' | 'add' | undefined> {
    this.#decidedAt = this.#turn;
    return state.cases.length === 0 ? 'replace' : askWhatStays(this.lost());
  }

  /** What would go with the cases, or with this tab, in words. */
  lost(): string[] {
    return [...this.cases.byHand, ...(hasUnsaved() ? ['drawings that this browser could not keep'] : [])];
  }

  /** Files one after another: images, then their labels, or the other way round. */
  async #collect(volumes: readonly FileEntry[], as: Kind, room: Room, name: string): Promise<void> {
    const goesOn = room === 'go on' || (room === 'add' && this.#single.grows(volumes));
    const single = (goesOn ? this.#single : new SingleFiles(name)).with(volumes, as);
    const base = goesOn ? this.#base : room === 'add' ? allThatIsThere() : undefined;
    const { ignoreLabel } = state;
    const isMarked = room !== 'replace' && ignoreLabel !== undefined;
    const options = { name: single.name, ...(isMarked && { ignoreLabel }) };
    await this.#put(() => this.#matched(single, options), room, { single, base });
  }

  /** What was given file by file, with labels by the names of the files. */
  async #matched(
    single: SingleFiles,
    options: { readonly name: string; readonly ignoreLabel?: number },
  ): Promise<Dataset> {
    const { images, labels } = single;
    const { trouble } = this.cases;
    if (images.length === 0) trouble.push('Labels only: add their images.');
    else if (labels.length === 0)
      trouble.push(
        'Images without labels: add the labels to train, or go to "Annotate" to draw some, or to "Use" to segment them.',
      );
    else
      try {
        return await pairDataset(images, labels, options);
      } catch (error) {
        if (!(error instanceof InvalidDataset)) throw error;
        trouble.push(messageOf(error), 'Choose the label of each image below.');
      }
    return { ...options, cases: withLabels(single.guessed()), labels: [], channels: [], warnings: [] };
  }

  async #open(open: () => Promise<Dataset>, room: 'replace' | 'add', name: string): Promise<boolean> {
    const make = async (): Promise<Dataset> => {
      const opened = await open();
      return opened.name === 'dataset' ? { ...opened, name } : opened;
    };
    return this.#put(make, room, { base: room === 'add' ? allThatIsThere() : undefined });
  }

  /** Makes a data set the cases of the page, and reads them; whether they are there at the end. */
  async #put(
    make: () => Promise<Dataset>,
    room: Room,
    { single = new SingleFiles(), base, parts = new Map(), names = [] }: Coming,
    decidedAt = this.#decidedAt,
  ): Promise<boolean> {
    const { signal } = this.#stop;
    let dataset: Dataset;
    let kept: Kept;
    try {
      const made = await make();
      /** Whether others have come in between, of which nobody was asked. */
      const isStale = (): boolean => room !== 'go on' && decidedAt !== this.#turn && !signal.aborted;
      let added = made;
      let twins: Twins = new Map();
      do {
        if (isStale()) {
          decidedAt = this.#turn;
          const now = await this.#room();
          if (!now) return false;
          [room, base] = [now, now === 'add' ? allThatIsThere() : undefined];
        }
        if (base) {
          added = await this.#marked(made, base, signal);
          twins = await this.#twins(added, base, signal);
        }
      } while (isStale());
      if (base) {
        const here = this.#here(base);
        const all = joined(here, added, [state.labels, named(names, made.labels)]);
        dataset = { ...all, ...eachOnce(here, added, all, twins) };
        kept = this.#keptWith(added.cases, all, { parts, names });
        if (twins.size > 0)
          this.cases.trouble.push(
            `${counted(twins.size, 'scan')} of ${made.name} ${twins.size === 1 ? 'is' : 'are'} here already, and not added again.`,
          );
      } else {
        dataset = made;
        kept = room === 'replace' ? { parts, names } : this.cases.kept();
      }
    } catch (error) {
      if (signal.aborted) return false;
      if (!(error instanceof InvalidDataset)) throw error;
      this.cases.trouble.push(messageOf(error));
      this.#listeners.onChange();
      return false;
    }
    if (signal.aborted) return false;
    const turn = ++this.#turn;
    this.#single = single;
    this.#base = base;
    if (room === 'replace') forgetChoices();
    this.cases.open(dataset, { ...kept, labels: [...(kept.labels ?? []), ...single.labels] });
    return (await this.#settle()) && turn === this.#turn;
  }

  /** The cases that stay when others come to them. */
  #here({ name, ids }: Base): Dataset {
    const dataset = this.cases.dataset();
    const cases = state.cases.filter(({ id }) => ids.has(id));
    return { ...dataset, name, cases, labels: told(dataset.labels) };
  }

  /** The cases of a data set whose images are those of cases that stay. */
  async #twins({ cases }: Dataset, base: Base, signal: AbortSignal): Promise<Twins> {
    const bySize = new Map<number, Case[]>();
    for (const item of this.#here(base).cases)
      bySize.set(sizeOf(item), [...(bySize.get(sizeOf(item)) ?? []), item]);
    const onProgress = this.cases.counted('Comparing', 'scans');
    const twins = new Map<Case, string>();
    try {
      for (const [at, item] of cases.entries()) {
        const alike = bySize.get(sizeOf(item)) ?? [];
        if (alike.length > 0) onProgress(at, cases.length);
        const twin = await twinOf(item, alike);
        signal.throwIfAborted();
        if (twin) twins.set(item, twin.id);
      }
    } finally {
      if (!signal.aborted) this.#listeners.onWork('');
    }
    return twins;
  }

  /** What is known of the cases that stay, and of those added, which come last in the data set, perhaps with other ids. */
  #keptWith(added: readonly Case[], { cases }: Dataset, { parts, names }: AtHand['kept']): Kept {
    const here = this.cases.kept();
    const from = cases.length - added.length;
    const theirs = added.flatMap(({ id }, at) => {
      const part = parts.get(id);
      return part ? [[cases[from + at]!.id, part] as const] : [];
    });
    return { ...here, parts: new Map([...here.parts, ...theirs]), names: named(here.names, names) };
  }

  /** A data set with another value of unknown voxels, where those of the cases beside it need that. */
  async #marked(made: Dataset, base: Base, signal: AbortSignal): Promise<Dataset> {
    const { name, ignoreLabel: own } = made;
    if (own === undefined) return made;
    const ignoreLabel = unknownBeside(this.#here(base), own);
    if (this.cases.values?.has(ignoreLabel))
      throw new InvalidDataset(
        `${name} cannot be added to ${base.name} yet: unknown voxels are ${ignoreLabel} there, a value that labels of ${base.name} hold as well. Say first which class is which value.`,
      );
    if (ignoreLabel === own) return made;
    const cases = made.cases.filter(({ label }) => label);
    const labels = await dataJob(
      'map',
      {
        labels: cases.map(({ label }) => label as VolumeFile),
        classes: new Map([[own, ignoreLabel]]),
        others: 'stay',
      },
      { onProgress: this.cases.counted('Marking unknown voxels in', 'labels'), signal },
    ).finally(() => this.#listeners.onWork(''));
    const marked = new Map(cases.map((item, at) => [item, { ...item, label: labels[at]! }]));
    return { ...made, cases: made.cases.map((item) => marked.get(item) ?? item), ignoreLabel };
  }

  /** As `check`, of cases that have just come. */
  async #settle(): Promise<boolean> {
    const isThere = await this.cases.check();
    if (isThere) await this.#listeners.onCases();
    return isThere;
  }
}

/** Bytes of a case's images. */
const sizeOf = ({ images }: Case): number => bytesOf(originOf(images as Images));

/** Of some cases the one that has the same images. */
async function twinOf({ images }: Case, among: readonly Case[]): Promise<Case | undefined> {
  for (const item of among) {
    const both = [images, item.images].map((each) => identityOf(originOf(each as Images)));
    // What cannot be read is told where it is checked.
    if (
      await Promise.all(both).then(
        ([one, other]) => one === other,
        () => false,
      )
    )
      return item;
  }
  return undefined;
}

/** What two data sets, joined, are without twins. A twin brings the label of a case that had none. */
function eachOnce(
  here: Dataset,
  added: Dataset,
  all: Dataset,
  twins: Twins,
): Pick<Dataset, 'name' | 'cases'> {
  const labels = new Map([...twins].map(([{ label }, id]) => [id, label]));
  const stay = here.cases.map((item) => {
    const label = item.label ?? labels.get(item.id);
    return label ? { ...item, label } : item;
  });
  const more = all.cases.slice(stay.length).filter((_, at) => !twins.has(added.cases[at]!));
  return { name: more.length === 0 ? here.name : all.name, cases: [...stay, ...more] };
}

const allThatIsThere = (): Base => ({ name: state.name, ids: new Set(state.cases.map(({ id }) => id)) });

/** Cases that are given no label with the one that their image has by now. */
function withLabels(cases: readonly Case[]): Case[] {
  const now = new Map(state.cases.map(({ images, label }) => [images[0], label]));
  return cases.map((item) => {
    const label = item.label ?? now.get(item.images[0] as VolumeFile);
    return label ? { ...item, label } : item;
  });
}
