/** The files of a data set, and the cases that they make up. */
import * as v from 'valibot';
import { openObject, text } from '../schema.ts';
import { sourceSchema, type Source } from './source.ts';

/** One file of a data set: its path inside the data set, with forward slashes, and where its bytes are. */
export interface FileEntry {
  /** With forward slashes, from the folder of the data set. */
  readonly path: string;
  /** Where its bytes are. */
  readonly source: Source;
}

export const fileList = v.array(
  openObject({ path: text, source: sourceSchema }),
  'a list of files, each with its path and source',
);

/** Of files that nobody put there: hidden ones, and what macOS leaves in archives and on sticks (`._name`, `__MACOSX/`). */
export const hiddenPattern = /(^|\/)(\.|__MACOSX\/)/;

/** The same by the names of files alone. */
const hiddenFilePattern = /(^|\/)(\.[^/]*$|__MACOSX\/)/;

/** Those that somebody put there: in hidden folders, such as `.totalsegmentator`, only where all lie in such. */
export function shownFiles<T>(files: readonly T[], pathOf: (file: T) => string): T[] {
  const without = (pattern: RegExp): T[] => files.filter((file) => !pattern.test(pathOf(file)));
  const shown = without(hiddenPattern);
  return shown.length > 0 ? shown : without(hiddenFilePattern);
}

/** An image (one source per channel, or one 4-D source), its label map, and who it shows. */
export interface Case {
  /** Different for each case; files of results are named after it. */
  readonly id: string;
  /** Whom it shows: a split keeps all cases of a subject in one part. */
  readonly subject: string;
  /** One file for each channel in order, or one 4-D file. */
  readonly images: readonly Source[];
  /** The label map; absent for cases that are only to be predicted. */
  readonly label?: Source;
}

/** Cases before their subjects are known. */
export type UnassignedCase = Omit<Case, 'subject'>;
