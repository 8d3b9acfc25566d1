/** A model that is not one file of this package: nnU-Net's folders, bundles of MONAI, several networks as one. */
import type { Start } from './beginning.ts';
import type { PredictOptions, Source } from 'unet3d-gpu/worker';
import type { ForeignFacts, ForeignLabels, ForeignRequests } from './foreign.worker.ts';
import type { ModelSource } from './model-source.ts';
import { WorkerCalls, workerFailed, type CallOptions } from './worker-calls.ts';

/** A worker with the model in it, and what it says of the model. */
interface Opened {
  readonly calls: WorkerCalls;
  readonly facts: ForeignFacts;
}

async function opened(input: ForeignRequests['open'], signal?: AbortSignal): Promise<Opened> {
  signal?.throwIfAborted();
  const worker = new Worker(new URL('./foreign.worker.ts', import.meta.url), { type: 'module' });
  const calls = new WorkerCalls(worker);
  const end = (): void => calls.close(closed());
  signal?.addEventListener('abort', end);
  try {
    return { calls, facts: (await calls.call('open', input)) as ForeignFacts };
  } catch (error) {
    end();
    throw error;
  } finally {
    signal?.removeEventListener('abort', end);
  }
}

const closed = (): Error => new Error('the model was closed');

export class ForeignModel {
  readonly config: ForeignFacts['config'];
  readonly description: ForeignFacts['description'];
  readonly kind: string;
  /** What a training that begins with it needs to know, or why none can. */
  readonly start: Start | string;
  readonly #input: ForeignRequests['open'];
  #opened: Promise<Opened> | undefined;

  private constructor(input: ForeignRequests['open'], { config, description, kind, start }: ForeignFacts) {
    this.#input = input;
    this.config = config;
    this.description = description;
    this.kind = kind;
    this.start = start;
  }

  /**
   * @param files those of the model, or its zip archive
   * @param folder that of the one that is meant of nnU-Net's models; without, all are parts of TotalSegmentator
   */
  static async open(files: ModelSource, folder?: string, signal?: AbortSignal): Promise<ForeignModel> {
    const first = await opened({ files, folder }, signal);
    const model = new ForeignModel({ files, folder }, first.facts);
    void model.#hold(Promise.resolve(first));
    return model;
  }

  /** Labels on the volume's own grid. Where the GPU or the worker is lost, the model is opened anew and asked again. */
  async predict(
    sources: readonly Source[],
    { signal, onProgress }: Pick<PredictOptions, 'signal' | 'onProgress'> = {},
  ): Promise<ForeignLabels> {
    const options: CallOptions = {
      signal,
      onProgress: (loaded, total) => onProgress?.({ loaded, total }),
    };
    const ask = async (model: Promise<Opened>): Promise<ForeignLabels> =>
      (await model).calls.call('predict', { sources }, options) as Promise<ForeignLabels>;
    const model = this.#open();
    try {
      return await ask(model);
    } catch (error) {
      if (!(error instanceof Error && ['DeviceLost', workerFailed].includes(error.name))) throw error;
      if (this.#opened === model) this.release(); // another call may have opened it anew already
      return ask(this.#open());
    }
  }

  /** The bytes of model.safetensors, to begin a training with. */
  async save(): Promise<Uint8Array> {
    return (await this.#open()).calls.call('save', undefined) as Promise<Uint8Array>;
  }

  #open(): Promise<Opened> {
    return this.#opened ?? this.#hold(opened(this.#input));
  }

  /** Until its worker dies, or it turns out that it cannot be opened: the next call tries again. */
  #hold(opening: Promise<Opened>): Promise<Opened> {
    this.#opened = opening;
    const drop = (): void => {
      if (this.#opened === opening) this.release();
    };
    void opening.then(({ calls }) => (calls.onFailure = drop), drop);
    return opening;
  }

  /** Ends what it is at, and frees what it has on the GPU, until it is used again. */
  release(): void {
    void this.#opened?.then(
      ({ calls }) => calls.close(closed()),
      () => undefined,
    );
    this.#opened = undefined;
  }

  dispose(): void {
    this.release();
  }
}
