/** Which volumes `predict` is to segment, of which files, and where results go. */
import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import type { FileEntry } from '../data/case.ts';
import { volumesAmong, withoutPredictions } from '../data/dataset.ts';
import { filesIn } from '../data/dataset.node.ts';
import { imagesByCase, type NamedVolume } from '../data/volumes-by-case.ts';
import { InvalidOption, InvalidVolume } from '../errors.ts';
import { isFolderAt } from '../files/folder.node.ts';
import { listed, some } from '../listed.ts';
import { fileMessage } from './failure.ts';
import type { FoundModel } from './found-model.ts';
import type { Io } from './io.ts';

/** One volume to segment: its files, one per channel, and where the result goes. */
export interface Job {
  /** The case. */
  readonly name: string;
  readonly files: readonly string[];
  readonly target: string;
}

/** A folder that alone holds files may name a case, as one of several does. */
function inTheirFolder(entries: readonly FileEntry[], files: readonly FileEntry[]): readonly FileEntry[] {
  const [folder = '.', ...others] = new Set(files.map(({ path }) => dirname(path)));
  if (folder === '.' || others.length > 0) return entries;
  return entries.map(({ path, source }) => ({ path: `${basename(folder)}/${basename(path)}`, source }));
}

/** Which files belong together and where their results go. */
export async function jobsOf(
  io: Io,
  inputs: readonly string[],
  out: string,
  { inChannels, channels }: Pick<FoundModel, 'inChannels' | 'channels'>,
): Promise<Job[]> {
  const groups: NamedVolume[] = [];
  const loose: FileEntry[] = [];
  let folders = 0;
  for (const input of inputs) {
    const info = await stat(input).catch((error: NodeJS.ErrnoException) => {
      throw new InvalidVolume(`cannot read ${fileMessage(error)}`);
    });
    if (!info.isDirectory()) {
      loose.push({ path: basename(input), source: input });
      continue;
    }
    folders++;
    const { files, warnings } = await filesIn(input, out);
    for (const warning of warnings) io.err(`warning: ${warning}`);
    const entries = volumesAmong(withoutPredictions(files));
    if (entries.length === 0)
      throw new InvalidVolume(`${input} holds no NIfTI file; give a folder with .nii or .nii.gz files`);
    const { volumes, labels } = await imagesByCase(inTheirFolder(entries, files), inChannels, channels);
    if (labels.length > 0)
      io.err(
        `${labels.length} file(s) in ${input} are left out, as they are named as labels: ${listed(labels.map(({ path }) => path))}`,
      );
    groups.push(...volumes);
  }
  const { volumes, labels } = await imagesByCase(loose, inChannels);
  groups.push(...volumes, ...(await imagesByCase(labels, inChannels)).volumes); // named one by one, they are meant

  const asFile = /\.nii(\.gz)?$/i.test(out);
  if (asFile && (groups.length > 1 || folders > 0))
    throw new InvalidOption(
      `--out ${out} names a file, but the input holds ${groups.length} volume(s)${folders > 0 ? ' in a folder' : ''}: ` +
        'give a folder',
    );
  const isFolder = folders > 0 || groups.length > 1 || (await isFolderAt(out)) || /[\\/]$/.test(out);
  if (!asFile && !isFolder && /\.[a-z]\w*$/i.test(out))
    throw new InvalidOption(
      `--out ${out} ends in ${extname(out)}: give a .nii or .nii.gz for the one volume, or a folder as ${out}/`,
    );
  return groups.map(({ name, files }): Job => {
    const ending = /\.nii$/i.test(files[0]!.path) ? '.nii' : '.nii.gz';
    return {
      name,
      files: files.map(({ source }) => source as string),
      target: asFile ? out : join(out, `${name}${ending}`),
    };
  });
}

/**
 * The files of `--previous-stage`, by what they are of.
 * @throws InvalidOption for one file and several volumes, and for volumes that a folder holds none for
 */
export async function previousStages(
  given: string | undefined,
  jobs: readonly Job[],
): Promise<ReadonlyMap<Job, string>> {
  if (given === undefined) return new Map();
  if (!(await isFolderAt(given))) {
    if (jobs.length === 1) return new Map([[jobs[0]!, given]]);
    throw new InvalidOption(
      `--previous-stage is of one volume; there are ${jobs.length}: give a folder with one for each, named as their cases`,
    );
  }
  const found = new Map<Job, string>();
  for (const job of jobs) {
    const path = ['.nii.gz', '.nii'].map((ending) => join(given, job.name + ending)).find(existsSync);
    if (path) found.set(job, path);
  }
  const missing = jobs.filter((job) => !found.has(job)).map(({ name }) => `${name}.nii.gz`);
  if (missing.length === 0) return found;
  throw new InvalidOption(`--previous-stage ${given} has no ${some(missing)}: give labels for each volume`);
}
