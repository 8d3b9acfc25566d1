/**
 * A network that does not die with its GPU: where the device or its worker is lost, it is loaded anew from where its
 * weights are kept, and the call is made again.
 */
import type { Start } from './beginning.ts';
import {
  Aborted,
  DeviceLost,
  UnsupportedDevice,
  UNet3D,
  type PredictOptions,
  type Segmentation,
} from 'unet3d-gpu/worker';

/** A model file, of which the worker reads what it needs, or its bytes. */
type Weights = () => Promise<Uint8Array | Blob>;

/** Waits before a GPU process that is being started again is asked once more, in milliseconds. */
const patience = [500, 1000, 2000, 4000];

export class KeptModel {
  readonly config: UNet3D['config'];
  readonly description: UNet3D['description'];
  readonly #weights: Weights;
  readonly #first: UNet3D;
  #network: Promise<UNet3D> | undefined;
  /** Ends the calls that are on their way when the network is taken away on purpose: they do not load it anew. */
  #calls = new AbortController();

  private constructor(network: UNet3D, weights: Weights) {
    this.config = network.config;
    this.description = network.description;
    this.#weights = weights;
    this.#first = network;
    this.#network = Promise.resolve(network);
  }

  /** @param weights gives the model file, as often as it is asked. @throws as UNet3D.load */
  static async open(weights: Weights): Promise<KeptModel> {
    return new KeptModel(await loaded(weights), weights);
  }

  /** Of a network that is there already; it belongs to the kept model from now on. */
  static of(network: UNet3D, weights: Weights): KeptModel {
    return new KeptModel(network, weights);
  }

  predict(...[sources, options]: [Parameters<UNet3D['predict']>[0], PredictOptions?]): Promise<Segmentation> {
    return this.#with((network, taken) => network.predict(sources, endedBy(taken, options)));
  }

  evaluate(...[cases, options]: Parameters<UNet3D['evaluate']>): ReturnType<UNet3D['evaluate']> {
    return this.#with((network, taken) => network.evaluate(cases, endedBy(taken, options)));
  }

  /** What a training that begins with it needs to know. */
  get start(): Start | string {
    if (this.description.nnunet)
      return 'it follows nnU-Net’s rules, by which trainings here do not prepare cases: open its model folder or zip archive in place of this file';
    return { config: this.config, preprocessing: this.description.preprocessing };
  }

  /** What it runs on. */
  adapter(): Promise<string> {
    return this.#with((network) => Promise.resolve(network.adapter));
  }

  limits(): Promise<UNet3D['limits']> {
    return this.#with((network) => Promise.resolve(network.limits));
  }

  /** The bytes of model.safetensors. */
  async save(): Promise<Uint8Array> {
    const weights = await this.#weights();
    return weights instanceof Blob ? new Uint8Array(await weights.arrayBuffer()) : weights;
  }

  #opened(): Promise<UNet3D> {
    if (this.#network) return this.#network;
    const network = loaded(this.#weights);
    this.#network = network;
    network.catch(() => this.#drop(network));
    return network;
  }

  #drop(network: Promise<UNet3D>): void {
    if (this.#network === network) this.#network = undefined;
    network.then(
      (opened) => opened.dispose(),
      () => undefined,
    );
  }

  async #with<T>(work: (network: UNet3D, taken: AbortSignal) => Promise<T>): Promise<T> {
    const network = this.#opened();
    const { signal: taken } = this.#calls;
    try {
      return await work(await network, taken);
    } catch (error) {
      if (taken.aborted) throw new Aborted('the network was put to another use meanwhile');
      if (!(error instanceof DeviceLost)) throw error;
      this.#drop(network);
    }
    return work(await this.#opened(), taken);
  }

  #endCalls(): void {
    this.#calls.abort();
    this.#calls = new AbortController();
  }

  /**
   * Ends what it is at, and hands over the network that it was made of, if it still has that: one that was loaded anew has other precision and
   * memory. The kept model is of no use from then on.
   */
  async giveBack(): Promise<UNet3D | undefined> {
    const network = this.#network;
    this.#network = undefined;
    this.#endCalls();
    const present = await network;
    if (present === this.#first) return present;
    present?.dispose();
    return undefined;
  }

  /** Frees what it has on the GPU, until it is used again. */
  release(): void {
    this.#endCalls();
    if (this.#network) this.#drop(this.#network);
  }

  dispose(): void {
    this.release();
  }
}

/** Options of a call that also ends when the network is taken away. */
const endedBy = <T extends { readonly signal?: AbortSignal }>(taken: AbortSignal, options?: T) => ({
  ...options,
  signal: options?.signal ? AbortSignal.any([taken, options.signal]) : taken,
});

async function loaded(weights: Weights): Promise<UNet3D> {
  for (const wait of patience)
    try {
      return await UNet3D.load(await weights());
    } catch (error) {
      if (!(error instanceof DeviceLost || error instanceof UnsupportedDevice)) throw error;
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  return UNet3D.load(await weights());
}
