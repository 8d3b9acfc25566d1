/** DICOM series as NIfTI volumes, converted by dcm2niix in a worker that is loaded when it is needed. */
import type { FileEntry } from 'unet3d-gpu/worker';
import { counted, messageOf, unlessAborted } from './dom.ts';
import { setMade } from './kept/data.ts';

/** Files of other kinds, whose beginning nobody needs to look at. */
const others = /\.(nii|hdr|img|json|csv|tsv|txt|md|zip|safetensors|pth?|ckpt|png|jpe?g|pdf|html?)(\.gz)?$/i;
/** DICOMDIR is a list of contents. */
const skipped = /(^|\/)(dicomdir|\..*)$/i;
const named = /\.(dcm|dicom|ima)$/i;
/** Where the letters DICM stand in a file. */
const magicAt = 128;

async function isDicom({ path, source }: FileEntry): Promise<boolean> {
  if (!(source instanceof Blob) || others.test(path) || skipped.test(path)) return false;
  if (named.test(path)) return true;
  return (await source.slice(magicAt, magicAt + 4).text()) === 'DICM';
}

export interface WithoutDicom {
  /** The other files, and the volumes in the place of the series. */
  readonly entries: readonly FileEntry[];
  /** What the user should know, one sentence each. */
  readonly notes: readonly string[];
}

/**
 * Replaces DICOM files by the volumes of their series. The only series of a folder gets the folder's name; several are
 * files in it, by protocol and number.
 * @param onFolder is told how many of so many folders are done
 * @returns undefined where `signal` has ended it
 */
export async function withoutDicom(
  given: readonly FileEntry[],
  { signal, onFolder }: { signal: AbortSignal; onFolder: (done: number, folders: number) => void },
): Promise<WithoutDicom | undefined> {
  const folders = new Map<string, File[]>();
  const entries: FileEntry[] = [];
  const unread: string[] = [];
  let why = '';
  for (const entry of given) {
    if (signal.aborted) return undefined;
    let isSeries: boolean;
    try {
      isSeries = await isDicom(entry);
    } catch (error) {
      unread.push(entry.path);
      why ||= messageOf(error);
      continue;
    }
    if (!isSeries) {
      if (!/(^|\/)dicomdir$/i.test(entry.path)) entries.push(entry);
      continue;
    }
    const folder = entry.path.split('/').slice(0, -1).join('/');
    folders.set(folder, [...(folders.get(folder) ?? []), entry.source as File]);
  }
  const notes: string[] = [];
  if (unread.length > 0) {
    const some = unread.slice(0, 3).join(', ');
    const all = unread.length > 3 ? `${counted(unread.length, 'file')}, such as ${some}` : some;
    notes.push(`What cannot be read is left out: ${all} (${why}).`);
  }
  let [done, read, made] = [0, 0, 0];
  for (const [folder, files] of folders) {
    onFolder(done++, folders.size);
    const where = folder === '' ? 'these files' : `the folder ${folder}`;
    try {
      const volumes = await converted(files, signal);
      const isOnly = volumes.length === 1 && folder !== '';
      for (const volume of volumes) {
        const name = volume.name.replace(/\.gz$/, '').replace(/\.nii$/, '');
        const path = isOnly ? `${folder}.nii.gz` : [folder, `${name}.nii.gz`].filter(Boolean).join('/');
        const source = new File([volume], path.split('/').at(-1)!);
        setMade(source);
        entries.push({ path, source });
      }
      if (volumes.length === 0)
        notes.push(`There is no volume in ${where} (${counted(files.length, 'DICOM file')}).`);
      read += files.length;
      made += volumes.length;
    } catch (error) {
      if (signal.aborted) return undefined;
      notes.push(
        `The ${counted(files.length, 'DICOM file')} of ${where} cannot be read (${messageOf(error)}): export the series again, uncompressed.`,
      );
    }
  }
  if (made > 0)
    notes.unshift(
      `${counted(read, 'DICOM file')} of ${counted(folders.size, 'folder')}: ${counted(made, 'volume')}.`,
    );
  return { entries, notes };
}

/** Its worker takes files once, and gives its memory back when it ends. */
async function converted(files: readonly File[], signal: AbortSignal): Promise<File[]> {
  const { Dcm2niix } = await import('@niivue/dcm2niix');
  signal.throwIfAborted();
  const tool = new Dcm2niix();
  const convert = async (): Promise<File[]> => {
    await tool.init();
    // Names of their own, whatever the folders call them.
    const input = files.map((file, index) => new File([file], `${index}.dcm`));
    return tool.input(input).bids('n').filenameformat('%p_%s').gzip('i').run();
  };
  try {
    const made = await unlessAborted(convert(), signal); // a worker that is ended never answers
    return made.filter(({ name }) => /\.nii(\.gz)?$/.test(name));
  } finally {
    tool.worker?.terminate();
  }
}
