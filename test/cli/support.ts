/** The command line in process: its lines are collected, and tiny data sets of phantoms are written for it. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runCli } from '../../src/cli/program.ts';
import { printable } from '../../src/cli/text.ts';
import { writeNifti } from '../../src/data/nifti.ts';
import { phantom, type PhantomOptions } from '../../src/data/phantom.ts';
import { temporaryFolder } from '../support/temporary.node.ts';

export { temporaryFolder };

export interface Ran {
  readonly exitCode: number;
  readonly out: string;
  readonly err: string;
}

/** Runs one command line; `signal` stands for Ctrl-C, `onLine` sees every line as it is written. */
export async function cli(
  args: readonly string[],
  options: { readonly signal?: AbortSignal; readonly onLine?: (line: string) => void } = {},
): Promise<Ran> {
  const lines = { out: [] as string[], err: [] as string[] };
  const collect =
    (to: string[]) =>
    (...added: string[]) => {
      for (const line of added.map(printable)) {
        to.push(line);
        options.onLine?.(line);
      }
    };
  const exitCode = await runCli(args, {
    out: collect(lines.out),
    err: collect(lines.err),
    status: () => undefined,
    isTerminal: false,
    columns: 80,
    signal: options.signal ?? new AbortController().signal,
    written: () => Promise.resolve(undefined),
  });
  return { exitCode, out: lines.out.join('\n'), err: lines.err.join('\n') };
}

export type Triple = readonly [number, number, number];

/** A folder with images/ and labels/ of phantoms, named Case_NN_Week0. */
export async function phantomDataset(cases: number, shape: Triple = [8, 8, 8]): Promise<string> {
  const folder = await temporaryFolder();
  for (const name of ['images', 'labels']) await mkdir(join(folder, name));
  for (let subject = 0; subject < cases; subject++) {
    const name = `Case_${String(subject).padStart(2, '0')}_Week0.nii.gz`;
    await writePhantom(subject, { shape }, join(folder, 'images', name), join(folder, 'labels', name));
  }
  return folder;
}

/** Writes a phantom's image and labels as NIfTI. */
export async function writePhantom(
  subject: number,
  options: PhantomOptions & { readonly shape: Triple },
  imagePath: string,
  labelPath: string,
): Promise<void> {
  const { shape } = options;
  const { image, labels, affine } = phantom(subject, options);
  await writeFile(imagePath, await writeNifti({ data: image, shape, affine }));
  await writeFile(labelPath, await writeNifti({ data: labels, shape, affine }));
}

/** A volume stored with x and z exchanged and y reversed: the same values at the same places. */
export function turned({
  data,
  shape,
  affine,
}: {
  readonly data: ArrayLike<number>;
  readonly shape: readonly number[];
  readonly affine: readonly number[];
}): { data: Float32Array; shape: number[]; affine: number[] } {
  const [nx, ny, nz] = shape as Triple;
  const moved = new Float32Array(data.length);
  for (let z = 0, at = 0; z < nz; z++)
    for (let y = 0; y < ny; y++)
      for (let x = 0; x < nx; x++) moved[z + nz * (ny - 1 - y + ny * x)] = data[at++]!;
  const rows = [0, 4, 8].flatMap((row) => [
    affine[row + 2]!,
    -affine[row + 1]!,
    affine[row]!,
    affine[row + 3]! + affine[row + 1]! * (ny - 1),
  ]);
  return { data: moved, shape: [nz, ny, nx], affine: [...rows, 0, 0, 0, 1] };
}
