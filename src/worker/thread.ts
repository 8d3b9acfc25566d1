/**
 * The worker's side: holds one model and does what the page asks. Between steps it yields through a MessageChannel,
 * so that an abort is heard at once, also in a hidden tab.
 */
import { InvalidOption } from '../errors.ts';
import type { DeviceOptions } from '../gpu/device-options.ts';
import type { PredictOptions } from '../infer/predict.ts';
import {
  UNet3D,
  type CreateOptions,
  type LabelledCase,
  type TakeOptions,
  type TrainingOptions,
} from '../unet3d.ts';
import type { TrainingResult } from '../train/events.ts';
import type { BatchSource } from '../train/fit.ts';
import type { Batch } from '../train/session.ts';
import {
  buffersOf,
  fromPlainError,
  fromPlainSource,
  toPlainError,
  type Method,
  type ModelFacts,
  type PlainSource,
  type Question,
  type Request,
  type Response,
} from './protocol.ts';

/** Options of `fit` as they cross over: functions stay on the page. */
export interface PlainFit extends Omit<
  TrainingOptions,
  'signal' | 'checkpoint' | 'onEvent' | 'through' | 'ranks'
> {
  readonly hasCheckpoint: boolean;
}

/** Cases, or a description of the batches that the page makes. */
export type PlainTraining = readonly LabelledCase[] | Omit<BatchSource, 'batch'>;

interface Call {
  readonly id: number;
  readonly signal: AbortSignal;
  readonly event: (event: unknown, transfer?: ArrayBuffer[]) => void;
  readonly ask: (what: Question, args: readonly unknown[], transfer?: ArrayBuffer[]) => Promise<unknown>;
}

const scope = globalThis as unknown as {
  postMessage(message: Response, transfer?: Transferable[]): void;
  addEventListener(type: 'message', listener: (event: MessageEvent<Request>) => void): void;
};

let model: UNet3D | undefined;
const running = new Map<number, AbortController>();
const questions = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
let nextQuestion = 1;

/** A turn of the event loop without the delays of timers in hidden tabs. */
const { port1, port2 } = new MessageChannel();
const turns: (() => void)[] = [];
port1.onmessage = () => turns.shift()?.();
const nextTurn = (): Promise<void> =>
  new Promise((resolve) => {
    turns.push(resolve);
    port2.postMessage(undefined);
  });

function current(): UNet3D {
  if (!model) throw new InvalidOption('there is no model in this worker: create or load one');
  return model;
}

const facts = ({ config, description, adapter, precision, gpu }: UNet3D): ModelFacts => ({
  config,
  description,
  adapter,
  precision,
  limits: gpu.limits,
});

/** One model is made, or disposed of, after another: the last that was asked for is the one that stays. */
let changing: Promise<void> = Promise.resolve();
function change(make?: () => Promise<UNet3D>): Promise<void> {
  const changed = changing.then(async () => {
    const before = model;
    model = await make?.();
    before?.dispose();
  });
  changing = changed.catch(() => undefined);
  return changed;
}

const methods: Record<Method, (call: Call, ...args: never[]) => Promise<unknown>> = {
  create: (_call, options: CreateOptions) => change(() => UNet3D.create(options)),
  load: (_call, model: PlainSource, options: DeviceOptions) =>
    change(() => UNet3D.load(fromPlainSource(model) as Uint8Array | Blob | URL, options)),
  describe: (_call, more: object) => Promise.resolve(current().describe(more)),
  takeWeights: (_call, bytes: Uint8Array, options: TakeOptions) => current().takeWeights(bytes, options),
  fit,
  evaluate: ({ signal }, cases: LabelledCase[], options: object) =>
    current().evaluate(cases, { ...options, signal }),
  choosePostprocessing: ({ signal, event }, validation: LabelledCase[], options: object) =>
    current().choosePostprocessing(validation, { ...options, signal, onProgress: event }),
  logits: ({ signal, event }, volume: Parameters<UNet3D['logits']>[0], options: object) =>
    current().logits(volume, { ...options, signal, onProgress: event }),
  async predict({ signal, event }, sources: readonly PlainSource[], options: PredictOptions) {
    const { labels, probabilities, logits, warnings, uncertainty } = await current().predict(
      sources.map(fromPlainSource),
      {
        ...options,
        signal,
        onProgress: event,
      },
    );
    return { labels, probabilities, logits, warnings, uncertainty };
  },
  save: () => current().save(),
  dispose: () => change(),
};

async function fit(call: Call, training: PlainTraining, options: PlainFit): Promise<TrainingResult> {
  const { hasCheckpoint, ...rest } = options;
  const source: readonly LabelledCase[] | BatchSource =
    'batchesPerEpoch' in training
      ? { ...training, batch: (epoch, index) => call.ask('batch', [epoch, index]) as Promise<Batch> }
      : training;
  return current().fit(source, {
    ...rest,
    through: (inner) => ({
      ...inner,
      async batch(epoch, index) {
        await nextTurn();
        return inner.batch(epoch, index);
      },
    }),
    signal: call.signal,
    onEvent: (event) => call.event(event, event.type === 'preview' ? buffersOf(event) : []),
    ...(hasCheckpoint && {
      checkpoint: {
        async save(name: string, bytes: Uint8Array<ArrayBuffer>) {
          await call.ask('saveCheckpoint', [name, bytes], [bytes.buffer]);
        },
        load: (name: string) => call.ask('loadCheckpoint', [name]) as Promise<Uint8Array | undefined>,
        async hold() {
          await call.ask('holdCheckpoint', []);
          return { [Symbol.dispose]: () => undefined }; // the page lets go at the end of the call
        },
      },
    }),
  });
}

async function run(id: number, method: Method, args: readonly unknown[]): Promise<void> {
  const controller = new AbortController();
  running.set(id, controller);
  const call: Call = {
    id,
    signal: controller.signal,
    event: (event, transfer) => scope.postMessage({ type: 'event', id, event }, transfer),
    ask: (what, given, transfer = []) =>
      new Promise((resolve, reject) => {
        const ask = nextQuestion++;
        questions.set(ask, { resolve, reject });
        scope.postMessage({ type: 'ask', id, ask, what, args: given }, transfer);
      }),
  };
  const known = () => model && { facts: facts(model) };
  try {
    const value = await methods[method](call, ...(args as never[]));
    scope.postMessage({ type: 'result', id, value, ...known() }, buffersOf(value));
  } catch (error) {
    scope.postMessage({ type: 'failure', id, error: toPlainError(error), ...known() });
  } finally {
    running.delete(id);
  }
}

scope.addEventListener('message', ({ data }) => {
  if (data.type === 'call') void run(data.id, data.method, data.args);
  else if (data.type === 'abort') running.get(data.id)?.abort();
  else if (data.type === 'answer') {
    const question = questions.get(data.ask);
    questions.delete(data.ask);
    if (data.error) question?.reject(fromPlainError(data.error));
    else question?.resolve(data.value);
  } else {
    // Held for as long as the worker lives: the page waits for it to learn of the worker's end, but where the browser
    // gives no locks, as where it blocks site data.
    const locks = (navigator as { locks?: LockManager }).locks;
    const ready = (): void => scope.postMessage({ type: 'ready' });
    if (!locks) ready();
    else
      locks
        .request(data.lock, () => {
          ready();
          return new Promise(() => undefined);
        })
        .catch(ready);
  }
});
