/**
 * Kernels while they are tried. Each is noted in the cache, as the driver may end the process over it: one that did so
 * twice, since the first time somebody may have stopped it, or that lost the device, is known by its note and left out.
 */
import type { Gpu } from '../gpu/device.ts';
import type { PassKind } from '../gpu/matrix-units.ts';
import { kindName } from '../gpu/passes.ts';
import type { StorageFormat } from '../gpu/shader.ts';
import { nobody, ownName, tryingAgain, writeCache, type Known, type TuningStore } from './tuning-cache.ts';

export class Trials {
  readonly #survived = new Set<string>();
  readonly #gpu: Gpu;
  readonly #store: TuningStore | undefined;
  readonly #broken: Known['broken'];
  readonly #suspect: Known['suspect'];
  readonly #proofs: Known['proofs'];

  constructor(gpu: Gpu, store: TuningStore | undefined, { broken, suspect, proofs }: Known) {
    this.#gpu = gpu;
    this.#store = store;
    this.#broken = broken;
    this.#suspect = suspect;
    this.#proofs = proofs;
  }

  /** Kernels that lost a device, or ended two processes. */
  isBroken(name: string): boolean {
    return this.#broken.has(name);
  }

  /** Also where another on matrix units did, and it was never tried: drivers that break over one break over more. */
  isRisky(name: string): boolean {
    const isAlike = isOnMatrices(name) && !(name in this.#proofs);
    return this.isBroken(name) || (isAlike && [...this.#broken].some(isOnMatrices));
  }

  /** Whether it was tried here, and nothing broke. */
  hasSurvived(name: string): boolean {
    return this.#survived.has(name);
  }

  /** @throws DeviceLost, and what `work` throws */
  async run<T>(name: string, work: () => Promise<T>): Promise<T> {
    const isNoted = !this.#survived.has(name);
    const own = ownName(this.#store);
    if (isNoted) await this.#note(name, this.#suspect.has(name) ? tryingAgain(own) : own);
    let left: string | undefined;
    try {
      return await work();
    } catch (error) {
      if (!(await this.#gpu.isLost())) throw error;
      if (!this.#gpu.isDestroyed) left = nobody;
      throw this.#gpu.lossError();
    } finally {
      if (isNoted || left !== undefined) await this.#note(name, left);
      if (left === undefined) this.#survived.add(name);
    }
  }

  /** That it cannot be noted is told where choices are kept. */
  #note(name: string, user: string | undefined): Promise<void> {
    return writeCache(this.#store, this.#gpu, { trying: { [name]: user } }, () => undefined);
  }
}

/** Of a kernel for passes of a kind, with volumes of a format. */
export const trialName = (of: PassKind, kernel: string, format: StorageFormat): string =>
  `${kindName(of)} ${kernel} ${format}`;

const isOnMatrices = (name: string): boolean => / matrix \d/.test(name);

export function toldOfBroken(name: string): string {
  const others = isOnMatrices(name) ? ', and others on matrix units are not tried' : '';
  return (
    `the kernel '${name}' lost the device, or ended the program twice, when it was tried on this adapter and driver: it is left ` +
    `out${others}; remove the cache of kernel choices to have it tried again`
  );
}
