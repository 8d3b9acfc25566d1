/** Files beside the checkout for tests of both runtimes: in Node by path, in a browser as picked files. */
import type { ReadOptions } from '../../src/data/nifti.ts';
import type { Source } from '../../src/data/source.ts';

export interface FilesBeside {
  /** The bytes of a file; undefined if there is none of that name. */
  readonly bytesOf: (path: string) => Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** A volume's file as a user gives it, with its .img where it has to be given too. */
  readonly volumeAt: (path: string) => Promise<[source: Source, options: ReadOptions]>;
}

const files: FilesBeside =
  typeof window === 'undefined' ? await import('./files.node.ts') : await import('./files.browser.ts');
export const { bytesOf, volumeAt } = files;

/** The SHA-256 of an array's bytes, in hexadecimal digits. */
export async function sha256(data: Float32Array): Promise<string> {
  const hash = await crypto.subtle.digest('SHA-256', data as Float32Array<ArrayBuffer>);
  return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
