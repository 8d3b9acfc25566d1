/** Weights of trainings in the origin's private file system, each under its training's id. */
import {
  checkpointName,
  privateStore,
  progressOf,
  type CheckpointStore,
  type PrivateStore,
  type Progress,
} from 'unet3d-gpu/worker';
import { messageOf } from '../dom.ts';

export const modelName = 'model.safetensors';
/** The weights that a training began with, where these were given. */
export const startName = 'start.safetensors';

/** All files that a training may have. */
export const fileNames: readonly string[] = [modelName, checkpointName, startName];

let opened: Promise<PrivateStore> | undefined;
const store = (): Promise<PrivateStore> =>
  (opened ??= privateStore('unet3d-gpu-example').catch((error: unknown) => {
    opened = undefined; // the next call tries again
    throw error;
  }));

/** The weights of one training, of its beginning, its last checkpoint and its end: on the disk, or in memory where that does not take them. */
export class RunFiles implements CheckpointStore {
  readonly #id: string;
  readonly #warn: (problem: string) => void;
  readonly #inMemory = new Map<string, Uint8Array<ArrayBuffer>>();

  /** @param warn is told why a file is not on the disk */
  constructor(id: string, warn: (problem: string) => void = () => undefined) {
    this.#id = id;
    this.#warn = warn;
  }

  /** Whether something would be lost with this tab. */
  get onlyInMemory(): boolean {
    return this.#inMemory.size > 0;
  }

  #path(name: string): string {
    return `${this.#id} ${name}`;
  }

  async save(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    try {
      await (await store()).save(this.#path(name), bytes);
      this.#inMemory.delete(name);
    } catch (error) {
      if (!this.#inMemory.has(name)) this.#warn(messageOf(error));
      this.#inMemory.set(name, bytes);
    }
  }

  /** As `save`, or fails where the disk does not take it. @throws QuotaExceeded */
  async keep(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    await (await store()).save(this.#path(name), bytes);
  }

  async load(name: string): Promise<Uint8Array | undefined> {
    const files = await store().catch(() => undefined);
    return this.#inMemory.get(name) ?? files?.load(this.#path(name));
  }

  async #remove(name: string): Promise<void> {
    this.#inMemory.delete(name);
    const files = await store().catch(() => undefined); // without one there is nothing to remove
    await files?.remove(this.#path(name));
  }

  checkpoint(): Promise<Uint8Array | undefined> {
    return this.load(checkpointName).catch(() => undefined);
  }

  /** The epochs that the checkpoint has behind it, and its best one. @throws InvalidModel where it is damaged */
  async progress(): Promise<Pick<Progress, 'history' | 'best'>> {
    const checkpoint = await this.checkpoint();
    return checkpoint ? progressOf(checkpoint) : { history: [] };
  }

  /** Keeps the finished model; whether it is on the disk. */
  async saveModel(model: Uint8Array<ArrayBuffer>): Promise<boolean> {
    await this.save(modelName, model);
    return !this.#inMemory.has(modelName);
  }

  /** Lets go of what led to the model. */
  async removeSteps(): Promise<void> {
    for (const name of [checkpointName, startName]) await this.#remove(name).catch(() => undefined);
  }

  /** @throws Error where it is gone */
  async model(): Promise<Uint8Array> {
    const bytes = await this.load(modelName);
    if (!bytes) throw new Error('the weights of this network are no longer kept in this browser');
    return bytes;
  }

  async removeAll(): Promise<void> {
    for (const name of fileNames) await this.#remove(name);
  }
}

/** Of the trainings that have files on the disk. */
export async function idsWithFiles(): Promise<Set<string>> {
  const paths = await (await store()).list();
  return new Set(paths.map((path) => path.split(' ')[0]!));
}
