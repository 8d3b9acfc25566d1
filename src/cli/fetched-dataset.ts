/** A data set at a web address: fetched because the user asked for it, unpacked beside where results go. */
import { existsSync } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { InvalidDataset, InvalidOption, UNet3DError } from '../errors.ts';
import { makeFolder, removeLeftovers, temporaryName } from '../files/write.node.ts';
import { formatBytes } from '../format.ts';
import { untar } from '../gpu/drivers.node.ts';
import type { Io } from './io.ts';
import { sha256 } from './provenance.ts';

/** Bytes of an archive, packed and unpacked: for the small data sets of a demo. */
const mostBytes = 2 ** 30;

export const isAddress = (text: string): boolean => /^https?:\/\//i.test(text);

/**
 * The folder with dataset.json of a tar archive (.tar or .tar.gz, as the Decathlon's are), unpacked within `parent`;
 * one that was fetched before is taken as it is there.
 * @throws InvalidOption where nothing is to be had at the address; InvalidDataset for an archive that is none of a data
 *   set, damaged, larger than 1 GiB, or with files that lead out of its folder
 */
export async function fetchedDataset(io: Io, address: string, parent: string): Promise<string> {
  const folder = join(parent, `dataset-${sha256(address).slice(0, 8)}`);
  if (existsSync(folder)) return folder;
  io.err(`Fetching ${address}`);
  const files = filesOfDataset(await fetched(address, io.signal), address);
  makeFolder(parent);
  await removeLeftovers(parent);
  const draft = join(parent, temporaryName());
  try {
    for (const { path, bytes } of files) {
      const target = join(draft, path);
      makeFolder(dirname(target));
      await writeFile(target, bytes);
    }
    await rename(draft, folder);
  } catch (error) {
    if (!existsSync(folder)) throw error; // otherwise another process was faster
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
  return folder;
}

async function fetched(address: string, signal: AbortSignal): Promise<Uint8Array> {
  const failed = (reason: string): InvalidOption =>
    new InvalidOption(
      `${address} cannot be fetched: ${reason}; give the address of a .tar or .tar.gz, or a folder`,
    );
  const parts: Uint8Array[] = [];
  try {
    const response = await fetch(address, { signal });
    if (!response.ok || !response.body) throw failed(`the server answers ${response.status}`);
    let size = 0;
    for await (const part of response.body) {
      size += part.length;
      if (size > mostBytes) throw tooLarge(address);
      parts.push(part);
    }
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof UNet3DError) throw error;
    throw failed(
      error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error),
    );
  }
  return Buffer.concat(parts);
}

const tooLarge = (address: string): InvalidDataset =>
  new InvalidDataset(
    `${address} is larger than ${formatBytes(mostBytes)}: unpack it yourself, and give its folder`,
  );

/** Files beside and below dataset.json, by their paths from there. */
function filesOfDataset(archive: Uint8Array, address: string): { path: string; bytes: Uint8Array }[] {
  const files = filesIn(unpacked(archive, address), address).filter(({ name }) => !/(^|\/)\._/.test(name));
  for (const { name } of files)
    if (/^\/|^[a-z]:|\\/i.test(name) || name.split('/').includes('..'))
      throw new InvalidDataset(
        `${address} holds ${JSON.stringify(name)}, which leads out of its folder: take another archive`,
      );
  const described = files
    .map(({ name }) => name)
    .filter((name) => /^([^/]*\/){0,2}dataset\.json$/.test(name));
  if (described.length !== 1)
    throw new InvalidDataset(
      `${address} holds ${described.length} files dataset.json at its top or in a folder there; one is needed, in a ` +
        '.tar or .tar.gz, as data sets of the Decathlon and of nnU-Net have it',
    );
  const root = described[0]!.slice(0, -'dataset.json'.length);
  return files.flatMap(({ name, bytes }) =>
    name.startsWith(root) ? [{ path: name.slice(root.length), bytes }] : [],
  );
}

function filesIn(archive: Uint8Array, address: string): ReturnType<typeof untar> {
  try {
    return untar(archive);
  } catch (error) {
    throw new InvalidDataset(`${address}: ${(error as Error).message}; fetch it again, or give a folder`);
  }
}

function unpacked(archive: Uint8Array, address: string): Uint8Array {
  if (archive[0] !== 0x1f || archive[1] !== 0x8b) return archive;
  try {
    return gunzipSync(archive, { maxOutputLength: mostBytes });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(address);
    throw new InvalidDataset(`${address} is no whole gzip file: fetch it again`);
  }
}
