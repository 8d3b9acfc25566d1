/** Copies of folders that may be read only, to be written to. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { filesIn } from '../../src/data/dataset.node.ts';
import { temporaryFolder } from './temporary.node.ts';

/** The folder of the copy, which goes with the other temporary ones. */
export async function copyOf(folder: string): Promise<string> {
  const copy = join(await temporaryFolder(), 'copy');
  for (const { path, source } of (await filesIn(folder)).files) {
    const target = join(copy, path);
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, await readFile(source as string));
  }
  return copy;
}
