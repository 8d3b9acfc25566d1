/** The files of a data set, and the cases that they make up. */
import type { Source } from './source.ts';

/** One file of a data set: its path inside the data set, with forward slashes, and where its bytes are. */
export interface FileEntry {
  readonly path: string;
  readonly source: Source;
}

/** An image (one source per channel, or one 4-D source), its label map, and who it shows. */
export interface Case {
  readonly id: string;
  readonly subject: string;
  readonly images: readonly Source[];
  readonly label?: Source;
}

/** Cases before their subjects are known. */
export type UnassignedCase = Omit<Case, 'subject'>;
