/** Files beside the checkout, handed over by the test server. */
import { commands } from 'vitest/browser';
import type { FilesBeside } from './files.ts';

declare module 'vitest/browser' {
  interface BrowserCommands {
    /** A file of ../shared in base64; null if there is none of that name. */
    sharedFile(path: string): Promise<string | null>;
  }
}

export const bytesOf: FilesBeside['bytesOf'] = async (path) => {
  const text = await commands.sharedFile(path);
  return text === null ? undefined : Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
};

const fileAt = async (path: string): Promise<File | undefined> => {
  const bytes = await bytesOf(path);
  return bytes && new File([bytes], path.split('/').at(-1)!);
};

export const volumeAt: FilesBeside['volumeAt'] = async (path) => {
  const image = path.replace(/\.hdr(\.gz)?$/, '.img$1');
  const picked = image === path ? undefined : await fileAt(image);
  return [(await fileAt(path))!, picked ? { image: picked } : {}];
};
