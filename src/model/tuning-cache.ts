/**
 * Tuned kernels from one run to the next: a JSON file by device. Where it lies is a store's business: the user's
 * cache folder in Node, the origin's private files in a browser.
 */
import * as v from 'valibot';
import { tunedSchema } from '../gpu/choices.ts';
import type { Gpu } from '../gpu/device.ts';
import { mayServe } from '../gpu/passes.ts';
import { readJson } from '../json.ts';
import { assertOptions } from '../options.ts';
import { flag, object, text, type Schema } from '../schema.ts';
import { privateStore } from '../files/private.browser.ts';
import type { FileStore } from '../files/store.ts';
import { version } from '../version.ts';

/** Keeps the cache; `save` must leave either the old or the new file. */
export interface TuningStore extends FileStore {
  /** Who uses it: the name of this process, and whether that of another is known to have ended. Default: all others have. */
  readonly users?: { readonly own: string; hasEnded(name: string): boolean };
}

export const cacheName = 'kernels.json';

/** 1 is the layout below. */
interface CacheFile {
  readonly 'unet3d-gpu kernels': 1;
  /** By device and versions: kernels by the key of their pass. */
  readonly devices: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** The same: kernels that gained less, the fastest first; they serve where the one above is wrong. */
  readonly next?: Readonly<Record<string, Ranking>> | undefined;
  /** The same: whether kernels were right where they were first tried, see ladder.ts. */
  readonly proofs?: Readonly<Record<string, Proofs>> | undefined;
  /** The same: who is trying a kernel, or `nobody` where the device was lost over it; see trials.ts. */
  readonly trying?: Readonly<Record<string, Notes>> | undefined;
}

type Notes = Readonly<Record<string, string>>;
type Ranking = Readonly<Record<string, readonly string[]>>;
type Proofs = Readonly<Record<string, boolean>>;

/** What is known of a device. */
export interface Known {
  readonly choices: Readonly<Record<string, string>>;
  readonly next: Ranking;
  readonly proofs: Proofs;
  /** Kernels that lost the device, or that processes were trying twice when they ended. */
  readonly broken: ReadonlySet<string>;
  /** Those that one process was trying when it ended, which somebody may have stopped. */
  readonly suspect: ReadonlySet<string>;
}

/** What a part of this is changed to. */
type Found = Partial<Omit<Known, 'broken' | 'suspect'>> & {
  /** Who tries a kernel now; undefined where nobody does any more. */
  readonly trying?: Readonly<Record<string, string | undefined>>;
};

export const cacheSchema = object({
  'unet3d-gpu kernels': v.literal(1),
  devices: v.record(v.string(), tunedSchema, 'an object of kernels by device'),
  next: v.optional(
    v.record(
      v.string(),
      v.record(v.string(), v.array(text, 'a list of kernels'), 'lists of kernels by pass'),
      'an object of kernels by device',
    ),
  ),
  proofs: v.optional(
    v.record(
      v.string(),
      v.record(v.string(), flag, 'true or false by kernel'),
      'an object of kernels by device',
    ),
  ),
  trying: v.optional(
    v.record(v.string(), v.record(v.string(), text, 'who tries a kernel'), 'an object of kernels by device'),
  ),
}) satisfies Schema<CacheFile>;

let provider: () => Promise<TuningStore | undefined> = () =>
  privateStore('unet3d-gpu.kernels').catch(() => undefined);

/**
 * Replaces the origin's private files as the place of the cache (Node's entry point does, with a folder).
 * @example
 * ```js
 * setTuningStore(() => Promise.resolve(undefined)); // keep no choices of kernels
 * ```
 */
export function setTuningStore(replacement: () => Promise<TuningStore | undefined>): void {
  assertOptions('setTuningStore', { replacement: v.function('a function') }, { replacement });
  provider = replacement;
}

const files = new Map<string, Uint8Array>();
const inMemory: TuningStore = {
  save: (name, bytes) => Promise.resolve(void files.set(name, bytes)),
  load: (name) => Promise.resolve(files.get(name)),
};

/** This platform's store; where it has none, one that lasts as long as the program. */
export const tuningStore = async (): Promise<TuningStore> => (await provider()) ?? inMemory;

export const nobody = 'nobody';
const thisProgram = String(Math.random());

/** By which a store knows this process. */
export const ownName = (store: TuningStore | undefined): string => store?.users?.own ?? thisProgram;

/** Before the name of who tries a kernel that another was trying when it ended. */
const again = /^again /;
export const tryingAgain = (name: string): string => `again ${name}`;

function hasEnded(user: string, store: TuningStore | undefined): boolean {
  const name = user.replace(again, '');
  return name !== ownName(store) && (name === nobody || (store?.users?.hasEnded(name) ?? true));
}

/** Other devices, drivers and versions measure for themselves. */
const deviceKey = ({ identity }: Gpu): string => `${identity} | unet3d-gpu ${version}`;

/** A cache that is damaged or of another layout counts as empty, which is reported to `warn`. */
function parsed(
  bytes: Uint8Array | undefined,
  warn: (message: string) => void,
): Omit<CacheFile, 'unet3d-gpu kernels'> {
  if (!bytes) return { devices: {} };
  try {
    return readJson(new TextDecoder().decode(bytes), cacheSchema, (problem) => new Error(problem));
  } catch (error) {
    warn(leftAside(error));
    return { devices: {} };
  }
}

const leftAside = (error: unknown): string =>
  `the cache of kernel choices (${cacheName}) is left aside and written anew: ${(error as Error).message}`;

/** What the cache holds of a device. */
export async function readCache(
  store: TuningStore | undefined,
  gpu: Gpu,
  warn: (message: string) => void,
): Promise<Known> {
  const bytes = await store?.load(cacheName).catch((error: unknown) => void warn(leftAside(error)));
  const { devices, next, proofs, trying } = parsed(bytes, warn);
  const key = deviceKey(gpu);
  const left = Object.entries(trying?.[key] ?? {}).filter(([, user]) => hasEnded(user, store));
  const isBroken = ([, user]: [string, string]): boolean => user === nobody || again.test(user);
  const names = (notes: [string, string][]): Set<string> => new Set(notes.map(([name]) => name));
  return {
    choices: devices[key] ?? {},
    next: next?.[key] ?? {},
    proofs: proofs?.[key] ?? {},
    broken: names(left.filter(isBroken)),
    suspect: names(left.filter((note) => !isBroken(note))),
  };
}

/** Of choices from the cache, those that the device runs and this version knows. */
export const usable = (choices: Known['choices'], { abilities }: Gpu): Known['choices'] =>
  Object.fromEntries(Object.entries(choices).filter(([key, kernel]) => mayServe(key, kernel, abilities)));

/** Adds to what is known of a device. That it cannot be kept is no error: it is measured again. */
export async function writeCache(
  store: TuningStore | undefined,
  gpu: Gpu,
  { choices, next, proofs, trying }: Found,
  warn: (message: string) => void,
): Promise<void> {
  if (!store) return;
  const key = deviceKey(gpu);
  const added = (bytes: Uint8Array | undefined): Uint8Array<ArrayBuffer> => {
    const before = parsed(bytes, () => undefined);
    // What another process has chosen meanwhile stays, and with it what comes next.
    const stays = usable(before.devices[key] ?? {}, gpu);
    const staysNext = Object.entries(before.next?.[key] ?? {}).filter(([pass]) => !choices || pass in stays);
    const file: CacheFile = {
      ...before,
      'unet3d-gpu kernels': 1,
      devices: choices ? { ...before.devices, [key]: { ...choices, ...stays } } : before.devices,
      ...(next && { next: { ...before.next, [key]: { ...next, ...Object.fromEntries(staysNext) } } }),
      ...(proofs && { proofs: { ...before.proofs, [key]: { ...before.proofs?.[key], ...proofs } } }),
      // What becomes undefined is not written.
      ...(trying && { trying: { ...before.trying, [key]: { ...before.trying?.[key], ...trying } as Notes } }),
    };
    return new TextEncoder().encode(JSON.stringify(file, null, 1));
  };
  try {
    if (store.update) await store.update(cacheName, added);
    else await store.save(cacheName, added(await store.load(cacheName).catch(() => undefined)));
  } catch (error) {
    warn(`the choices of kernels cannot be kept: ${(error as Error).message}`);
  }
}
