/**
 * Projects: everything that is kept and the cases at hand, in one file (a zip archive, uncompressed), to be opened
 * elsewhere. Images are copied into it, or only named: then they are asked for where it is opened.
 */
import { makeZip } from 'client-zip';
import { unzip, type ZipEntry } from 'unzipit';
import * as v from 'valibot';
import { InvalidDataset, type Case } from 'unet3d-gpu/worker';
import { counted, complain } from '../dom.ts';
import { isMade, keyOf, setMade } from './data.ts';
import type { AtHand } from '../labelled-cases.ts';
import type { Images, VolumeFile } from '../state.ts';
import { keepsAnything, type DataRecord, type DrawingRecord, type RunRecord } from './database.ts';
import {
  projectSchema,
  recordOf,
  type Project,
  type ProjectCase,
  type ProjectFile,
  type ProjectScan,
  type ProjectVolume,
} from './project-format.ts';
import { unsavedDrawings } from '../annotate/annotations.ts';
import {
  drawnCases,
  holdDrawing,
  identityOf,
  keepDrawing,
  keptDrawing,
  keptDrawings,
} from '../annotate/kept-drawings.ts';
import { unpacked } from '../annotate/packing.ts';
import { restsUntil } from '../pieces.ts';
import { written } from '../annotate/session.ts';
import { fileNames, RunFiles } from './run-files.ts';
import { claim, keepData, keepRun, keptData, keptRun, keptRuns } from './runs.ts';

const descriptionName = 'project.json';
/** Bytes of the description at most: it names files, and holds none. */
const longest = 64 * 2 ** 20;

const drawingPath = (id: string): string => `drawings/${id}.gz`;

interface Entry {
  readonly name: string;
  readonly input: Blob | Uint8Array<ArrayBuffer> | string;
}

/**
 * The archive, as it is read from the disk piece by piece.
 * @param withImages copies images into it; otherwise they are read, to be known again. Labels are always in it, and images
 * that the page has made: those are in no folder. Files that are gone are only named, which is told
 * @param atHand cases of the page, which need not be kept in the browser
 * @param run the training at hand, some of whose weights the disk may not have taken
 */
export async function projectArchive(
  withImages: boolean,
  signal?: AbortSignal,
  atHand?: AtHand,
  run?: { readonly id: string; readonly files: RunFiles },
): Promise<ReadableStream<Uint8Array>> {
  await written(); // the last stroke as well
  const runs = await keptRuns().catch((error: unknown) => {
    if (keepsAnything()) throw error;
    return [];
  });
  const unsaved = unsavedDrawings();
  const kept = await keptDrawings();
  if (kept.unread > 0)
    complain(
      `The project is without ${counted(kept.unread, 'drawing')} of this browser that cannot be read: reload the page, and save it again.`,
    );
  const drawings = [
    ...kept.drawings.filter(({ id }) => !unsaved.has(id)),
    ...[...unsaved.values()].flatMap(({ drawing }) => drawing ?? []),
  ];
  const scans = await drawnCases();
  const data = (await Promise.all([...new Set(runs.map((run) => run.data))].map(keptData))).filter(
    (found) => found !== undefined,
  );
  const files: Entry[] = [];
  /** Names of files that cannot be read. */
  const gone = new Set<string>();
  const known = new Map<string, { readonly file: File; readonly as: ProjectFile }[]>();
  /** A file of the archive, which is in it once, however often the same was chosen. */
  const fileIn = async (folder: string, file: File, isCopied: boolean): Promise<ProjectFile> => {
    signal?.throwIfAborted();
    const { name, size, lastModified: modified } = file;
    if (!(await isThere(file))) {
      gone.add(name);
      return { name, size, modified };
    }
    const key = `${isCopied} ${size} ${name}`;
    const alike = known.get(key) ?? [];
    for (const other of alike)
      if (other.file === file || (await identityOf([other.file])) === (await identityOf([file])))
        return other.as;
    const path = `${folder}/${files.length}/${name}`;
    if (isCopied) files.push({ name: path, input: file });
    const where = isCopied ? { path } : { hash: await identityOf([file]) };
    const as = { name, size, modified, ...where, ...(isMade(file) && { made: true as const }) };
    known.set(key, [...alike, { file, as }]);
    return as;
  };
  const volumeIn = async (folder: string, volume: VolumeFile, isCopied = true): Promise<ProjectVolume> => {
    if (!('header' in volume)) return fileIn(folder, volume, isCopied || isMade(volume));
    const { header, image } = volume;
    return { header: await fileIn(folder, header, isCopied), image: await fileIn(folder, image, isCopied) };
  };
  const copies = new Map<string, ProjectVolume[]>();
  /** Images that are kept are told apart without reading them. */
  const imagesIn = async (images: Case['images']): Promise<ProjectVolume[]> => {
    const key = keyOf(images);
    const before = key === undefined ? undefined : copies.get(key);
    if (before) return before;
    const copy: ProjectVolume[] = [];
    for (const image of images as Images) copy.push(await volumeIn('images', image, withImages));
    if (key !== undefined) copies.set(key, copy);
    return copy;
  };
  const caseIn = async ({ id, subject, images, label }: Case): Promise<ProjectCase> => ({
    ...{ id, subject, images: await imagesIn(images) },
    ...(label !== undefined && { label: await volumeIn('labels', label as VolumeFile) }),
  });
  const described: Project['data'] = [];
  for (const { id, name, cases } of data) {
    const its: ProjectCase[] = [];
    for (const item of cases) its.push(await caseIn(item));
    described.push({ id, name, cases: its });
  }
  const drawn = [];
  for (const drawing of drawings) {
    const item = unsaved.get(drawing.id)?.item ?? scans.get(drawing.id);
    const scan = item && { id: item.id, subject: item.subject, images: await imagesIn(item.images) };
    drawn.push({ ...withoutVoxels(drawing), ...(scan && { scan }) });
  }
  const project = {
    ...{ format: 'unet3d-gpu project', version: 1, data: described, runs, drawings: drawn },
    ...(atHand && { atHand: await atHandIn(atHand, caseIn) }),
  };
  if (gone.size > 0)
    complain(
      `The project only names ${[...gone].join(', ')}: ${gone.size === 1 ? 'this file was' : 'these files were'} moved, changed or deleted after they were given. Whoever opens it is asked for the folder that holds them.`,
    );
  async function* entries(): AsyncGenerator<Entry> {
    yield { name: descriptionName, input: JSON.stringify(project, null, 1) };
    for (const { id } of runs)
      for (const name of fileNames) {
        const bytes = await (run?.id === id ? run.files : new RunFiles(id)).load(name);
        if (bytes) yield { name: `runs/${id}/${name}`, input: bytes as Uint8Array<ArrayBuffer> };
      }
    for (const { id, voxels } of drawings) yield { name: drawingPath(id), input: voxels };
    yield* files;
  }
  return makeZip(entries());
}

async function atHandIn(
  {
    dataset: { name, cases, labels: classes, channels, regions, ignoreLabel },
    kept: { parts, names },
  }: AtHand,
  caseIn: (item: Case) => Promise<ProjectCase>,
) {
  const its = [];
  for (const item of cases) its.push({ ...(await caseIn(item)), part: parts.get(item.id) });
  return { name, cases: its, classes, names, channels, regions, ignoreLabel };
}

/** Whether a file can still be read; an empty one always can. */
const isThere = (file: File): Promise<boolean> =>
  file
    .slice(0, 1)
    .arrayBuffer()
    .then(
      () => true,
      () => false,
    );

const withoutVoxels = ({ voxels: _voxels, scan: _scan, ...drawing }: DrawingRecord) => drawing;

/** What a project has brought, and what it only names. */
export interface OpenedProject {
  readonly runs: number;
  /** Trainings that were here already, and stay as they are. */
  readonly known: number;
  /** Trainings whose images have to be given before they can be resumed or reported on. */
  readonly withoutImages: number;
  /** Drawings on cases, but for those that are older than what is drawn here, or were not to replace it. */
  readonly drawings: number;
  /** Drawings whose scans have to be given before they can be drawn on or trained on. */
  readonly withoutScans: number;
  /** The cases that were at hand where it was saved, but for those that come next. */
  readonly cases: AtHand | undefined;
  /** Of these cases, those whose images have to be given. */
  readonly withoutCases: number;
}

/**
 * Keeps the trainings and drawings of a project in this browser.
 * @param found files among which those are that the project only names
 * @param mayReplace is told of the scans on which something else was drawn here before: whether that may go
 * @throws InvalidDataset for a file that is no project, or a damaged one; Error where another tab draws on such a scan
 */
export async function openProject(
  archive: Blob,
  found: readonly File[] = [],
  signal?: AbortSignal,
  mayReplace: (scans: readonly string[]) => Promise<boolean> = () => Promise.resolve(false),
): Promise<OpenedProject> {
  const entries = await entriesOf(archive);
  const project = await descriptionOf(entries);
  const blobOf = async (path: string): Promise<Blob> => {
    const entry = entries[path];
    if (!entry) throw damaged(`it names ${path}, which it does not hold`);
    return entry.blob();
  };
  const bytesOf = async (path: string): Promise<Uint8Array<ArrayBuffer> | undefined> =>
    path in entries ? new Uint8Array(await (await blobOf(path)).arrayBuffer()) : undefined;
  const fileOf = async ({
    name,
    size,
    hash,
    path,
    modified,
    made,
  }: ProjectFile): Promise<File | undefined> => {
    const time = modified === undefined ? {} : { lastModified: modified };
    if (path !== undefined) {
      const file = new File([await blobOf(path)], name, time);
      if (made) setMade(file);
      return file;
    }
    const alike = found.filter((file) => file.name === name && file.size === size);
    if (hash === undefined) return alike.length === 1 ? alike[0] : undefined;
    for (const file of alike) if ((await identityOf([file])) === hash) return file;
    return undefined;
  };
  const volumeOf = async (volume: ProjectVolume): Promise<VolumeFile | undefined> => {
    if (!('header' in volume)) return fileOf(volume);
    const [header, image] = [await fileOf(volume.header), await fileOf(volume.image)];
    return header && image && { header, image };
  };
  const lists = new Map<string, Promise<Images | undefined>>();
  /** The same list for all that have the same images, by which these are kept once. */
  const imagesOf = (volumes: readonly ProjectVolume[]): Promise<Images | undefined> => {
    const key = JSON.stringify(volumes);
    const known = lists.get(key);
    if (known) return known;
    const found = Promise.all(volumes.map(volumeOf)).then((images) =>
      images.every((image) => image !== undefined) ? images : undefined,
    );
    lists.set(key, found);
    return found;
  };
  /** Those whose files are there. */
  const completeOf = async (cases: readonly ProjectCase[]): Promise<Case[]> => {
    const complete: Case[] = [];
    for (const item of cases) {
      signal?.throwIfAborted();
      const images = await imagesOf(item.images);
      const label = item.label && (await volumeOf(item.label));
      if (images && (label || !item.label))
        complete.push({ id: item.id, subject: item.subject, images, ...(label && { label }) });
    }
    return complete;
  };
  const data = new Map<string, DataRecord>();
  for (const { id, name, cases } of project.data) {
    data.set(id, { id, name, cases: await completeOf(cases) });
  }
  // Trainings share data: which have theirs is asked before any are kept.
  const before = new Map<string, { readonly isWhole: boolean }>();
  for (const { id } of project.runs) {
    const record = await keptRun(id);
    if (record) before.set(id, { isWhole: await hasImages(record) });
  }
  let [known, withoutImages, runs] = [0, 0, 0];
  for (const run of project.runs) {
    signal?.throwIfAborted();
    const record = recordOf(run);
    const itsData = data.get(run.data);
    const isComplete =
      itsData !== undefined && record.cases.every(({ id }) => itsData.cases.some((item) => item.id === id));
    if (!isComplete) withoutImages++;
    const here = before.get(run.id);
    if (here && (here.isWhole || !isComplete)) {
      known++;
      continue;
    }
    if (here) await keepData(itsData!);
    else await keepNew(record, isComplete ? itsData : undefined, bytesOf);
    runs++;
  }
  /** The case of a drawing, where its images are at hand: others may have their names. */
  const caseOf = async (id: string, scan: ProjectScan): Promise<Case | undefined> => {
    const images = scan && (await imagesOf(scan.images));
    return images && (await identityOf(images)) === id ? { ...scan, images } : undefined;
  };
  let [drawings, withoutScans] = [0, 0];
  await written(); // this tab holds what it still writes
  interface Taken {
    readonly name: string;
    readonly theirs: DrawingRecord;
    readonly its: Case | undefined;
    readonly here: DrawingRecord | undefined;
  }
  /** Keeps a drawing in the place of the one that was here, unless that has changed since. */
  const take = async ({ name, theirs, its, here }: Taken): Promise<void> => {
    const release = await holdDrawing(theirs.id, name);
    try {
      const now = await keptDrawing(theirs.id);
      if (now?.changed.getTime() !== here?.changed.getTime()) return;
      await keepDrawing(theirs, its, here?.changed);
      if (theirs !== here) drawings++;
    } finally {
      release();
    }
  };
  /** Later ones than those that are here, which they would take the place of. */
  const others: Taken[] = [];
  for (const { changed, scan: named, ...drawing } of project.drawings) {
    signal?.throwIfAborted();
    const here = await keptDrawing(drawing.id);
    const its = here?.scan ? undefined : await caseOf(drawing.id, named);
    if (!here?.scan && !its) withoutScans++;
    const { scan } = here ?? {};
    const name = scan?.id ?? named?.id ?? drawing.id.slice(0, 8);
    if (here && here.changed.toISOString() >= changed) {
      if (its) await take({ name, theirs: here, its, here });
      continue;
    }
    const voxels = new Uint8Array(await (await blobOf(drawingPath(drawing.id))).arrayBuffer());
    await unpacked({ voxels, shape: drawing.shape }).catch((error: unknown) => {
      throw damaged(`${drawingPath(drawing.id)}: ${error instanceof Error ? error.message : String(error)}`);
    });
    const theirs = { ...drawing, ...(scan && { scan }), voxels, changed: new Date(changed) };
    if (here && !(await saysTheSame(here, theirs))) others.push({ name, theirs, its, here });
    else await take({ name, theirs, its, here });
  }
  if (others.length > 0 && (await mayReplace(others.map(({ name }) => name))))
    for (const other of others) await take(other);
  const { atHand } = project;
  const cases = atHand && atHandOf(atHand, await completeOf(atHand.cases));
  const withoutCases = atHand ? atHand.cases.length - cases!.dataset.cases.length : 0;
  return { runs, known, withoutImages, drawings, withoutScans, cases, withoutCases };
}

const atHandOf = (
  {
    name,
    classes: labels,
    names,
    channels,
    regions,
    ignoreLabel,
    cases: all,
  }: NonNullable<Project['atHand']>,
  cases: readonly Case[],
): AtHand => ({
  dataset: {
    ...{ name, cases: [...cases], labels, channels, warnings: [] },
    ...(regions && { regions }),
    ...(ignoreLabel !== undefined && { ignoreLabel }),
  },
  kept: { parts: new Map(all.flatMap(({ id, part }) => (part ? [[id, part]] : []))), names },
});

/** Keeps a training with its files. No other tab sees it before all of it is there. */
async function keepNew(
  record: RunRecord,
  data: DataRecord | undefined,
  bytesOf: (path: string) => Promise<Uint8Array<ArrayBuffer> | undefined>,
): Promise<void> {
  const { id } = record;
  const release = await claim(id);
  const files = new RunFiles(id);
  try {
    if (await keptRun(id)) return; // another tab has opened the same project
    for (const name of fileNames) {
      const bytes = await bytesOf(`runs/${id}/${name}`);
      if (bytes) await files.keep(name, bytes);
    }
    await keepRun(record, data);
  } catch (error) {
    await files.removeAll().catch(() => undefined);
    throw error;
  } finally {
    release();
  }
}

/** Voxels that are compared at once. */
const compared = 2 ** 20;

/** Whether the one can take the place of the other; where it is damaged, that cannot be told. */
async function saysTheSame(one: DrawingRecord, other: DrawingRecord): Promise<boolean> {
  if (
    JSON.stringify([one.shape, one.marks, one.names]) !==
    JSON.stringify([other.shape, other.marks, other.names])
  )
    return false;
  const voxels = await unpacked(one).catch(() => undefined);
  const others = await unpacked(other);
  const rest = restsUntil();
  for (let from = 0; voxels && from < voxels.length; from += compared) {
    await rest();
    for (let at = from; at < Math.min(voxels.length, from + compared); at++)
      if (voxels[at] !== others[at]) return false;
  }
  return voxels !== undefined;
}

async function hasImages({ data, cases }: RunRecord): Promise<boolean> {
  const kept = await keptData(data);
  return kept !== undefined && cases.every(({ id }) => kept.cases.some((item) => item.id === id));
}

const damaged = (problem: string): InvalidDataset =>
  new InvalidDataset(`this is no project of this page, or a damaged one: ${problem}`);

/** Entries lie in the archive as they are: nothing is unpacked, so none is larger than the archive. */
async function entriesOf(archive: Blob): Promise<Readonly<Record<string, ZipEntry>>> {
  let opened;
  try {
    opened = await unzip(archive);
  } catch {
    throw damaged('it is not a zip archive');
  }
  const { entries } = opened;
  for (const { name, compressionMethod, encrypted, size } of Object.values(entries))
    if (compressionMethod !== 0 || encrypted || size > archive.size)
      throw damaged(`${name} is packed, and projects are not`);
  return entries;
}

async function descriptionOf(entries: Readonly<Record<string, ZipEntry>>): Promise<Project> {
  const entry = entries[descriptionName];
  if (!entry || entry.size > longest) throw damaged(`it has no ${descriptionName}`);
  let json: unknown;
  try {
    json = await entry.json();
  } catch {
    throw damaged(`${descriptionName} is not JSON`);
  }
  const read = v.safeParse(projectSchema, json);
  if (read.success) return read.output;
  const [issue] = read.issues;
  throw damaged(`in ${descriptionName}, ${v.getDotPath(issue) ?? 'the whole'}: ${issue.message}`);
}
