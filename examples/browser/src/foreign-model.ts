/** A model that is not one file of this package: nnU-Net's folders, bundles of MONAI, several networks as one. */
import type { FileEntry, Source } from 'unet3d-gpu/worker';
import type {
  ForeignFacts,
  ForeignLabels,
  ForeignReply,
  ForeignRequest,
  ModelSource,
} from './foreign.worker.ts';

interface Call {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly onProgress: ((progress: { loaded: number; total: number }) => void) | undefined;
}

type Asked<T> = T extends ForeignRequest ? Omit<T, 'id'> : never;

/** The worker with one model in it. */
class Connection {
  readonly #worker = new Worker(new URL('./foreign.worker.ts', import.meta.url), { type: 'module' });
  readonly #calls = new Map<number, Call>();
  #next = 1;

  constructor() {
    this.#worker.addEventListener('message', ({ data }: MessageEvent<ForeignReply>) => {
      const { id, loaded, total = 0, error, result } = data;
      const call = this.#calls.get(id);
      if (loaded !== undefined) return call?.onProgress?.({ loaded, total });
      this.#calls.delete(id);
      if (error) call?.reject(Object.assign(new Error(error.message), { name: error.name }));
      else call?.resolve(result);
    });
    this.#worker.addEventListener('error', (event) => this.close(`its worker failed: ${event.message}`));
  }

  call<T>(
    request: Asked<ForeignRequest>,
    options: { readonly signal?: AbortSignal; readonly onProgress?: Call['onProgress'] } = {},
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const id = this.#next++;
      this.#calls.set(id, {
        resolve: resolve as (value: unknown) => void,
        reject,
        onProgress: options.onProgress,
      });
      this.#worker.postMessage({ ...request, id });
      options.signal?.addEventListener('abort', () => this.#worker.postMessage({ type: 'abort', id }));
    });
  }

  close(why = 'the model was closed'): void {
    this.#worker.terminate();
    for (const { reject } of this.#calls.values()) reject(new Error(why));
    this.#calls.clear();
  }
}

export class ForeignModel {
  readonly config: ForeignFacts['config'];
  readonly description: ForeignFacts['description'];
  readonly kind: string;
  readonly #files: ModelSource;
  readonly #folder: string | undefined;
  #connection: Promise<Connection> | undefined;

  private constructor(
    files: ModelSource,
    folder: string | undefined,
    facts: ForeignFacts,
    connection: Connection,
  ) {
    this.config = facts.config;
    this.description = facts.description;
    this.kind = facts.kind;
    this.#files = files;
    this.#folder = folder;
    this.#connection = Promise.resolve(connection);
  }

  /** The folders of nnU-Net's models among some files; of one model, or of another tool's, one or none. */
  static async folders(files: ModelSource): Promise<readonly string[]> {
    const connection = new Connection();
    try {
      return await connection.call<readonly string[]>({ type: 'folders', files });
    } finally {
      connection.close();
    }
  }

  /**
   * @param files those of the model, or its zip archive
   * @param folder the one of several of nnU-Net's models; without, all are parts of TotalSegmentator
   */
  static async open(files: ModelSource, folder?: string): Promise<ForeignModel> {
    const connection = new Connection();
    try {
      const facts = await connection.call<ForeignFacts>({ type: 'open', files, folder });
      return new ForeignModel(files, folder, facts, connection);
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  /** Labels on the volume's own grid. Where the GPU is lost, the model is opened anew and asked again. */
  async predict(
    sources: readonly Source[],
    options: Parameters<Connection['call']>[1] = {},
  ): Promise<ForeignLabels> {
    const ask = async (): Promise<ForeignLabels> =>
      (await this.#opened()).call<ForeignLabels>({ type: 'predict', sources }, options);
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof Error && error.name === 'DeviceLost')) throw error;
      this.release();
      return ask();
    }
  }

  #opened(): Promise<Connection> {
    this.#connection ??= (async () => {
      const connection = new Connection();
      await connection.call({ type: 'open', files: this.#files, folder: this.#folder });
      return connection;
    })();
    return this.#connection;
  }

  /** Frees what it has on the GPU, until it is used again. */
  release(): void {
    void this.#connection?.then(
      (connection) => connection.close(),
      () => undefined,
    );
    this.#connection = undefined;
  }

  dispose(): void {
    this.release();
  }
}

/** Which of some files are a model of another tool, or several of this package's; undefined if none are. */
export function foreignAmong(entries: readonly FileEntry[]): ModelSource | undefined {
  const archive = entries.find(({ path }) => /\.zip$/i.test(path));
  if (archive) return archive.source as File;
  if (entries.some(({ path }) => /(^|\/)(plans|configs\/metadata)\.json$/.test(path))) return entries;
  const weights = entries.filter(({ path }) => /\.(pt|pth|ckpt)$/i.test(path));
  if (weights.length > 0) return entries.filter(({ path }) => /\.(pt|pth|ckpt|json)$/i.test(path));
  const own = entries.filter(({ path }) => path.endsWith('.safetensors'));
  return own.length > 1 ? own : undefined;
}
