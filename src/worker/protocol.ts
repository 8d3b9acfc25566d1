/**
 * What the page and its worker say to each other. The page calls methods by name and gets a result or an error;
 * while a call runs, the worker may send events and ask the page for what only the page has (batches, checkpoints).
 */
import * as errors from '../errors.ts';
import { QuotaExceeded } from '../files/private.browser.ts';
import type { Source } from '../data/source.ts';
import type { UNet3DConfig } from '../model/config.ts';
import type { PlanLimits } from '../gpu/plan.ts';
import type { Precision } from '../gpu/precision.ts';
import type { UNet3D } from '../unet3d.ts';

/** What the page knows of the worker's model without asking. */
export interface ModelFacts {
  readonly config: UNet3DConfig;
  readonly description: UNet3D['description'];
  readonly adapter: string;
  readonly precision: Precision;
  readonly limits: PlanLimits;
}

export type Method =
  | 'create'
  | 'load'
  | 'describe'
  | 'takeWeights'
  | 'fit'
  | 'evaluate'
  | 'choosePostprocessing'
  | 'logits'
  | 'predict'
  | 'save'
  | 'dispose';

/** Page to worker. */
export type Request =
  | { readonly type: 'hello'; readonly lock: string }
  | { readonly type: 'call'; readonly id: number; readonly method: Method; readonly args: readonly unknown[] }
  | { readonly type: 'abort'; readonly id: number }
  | { readonly type: 'answer'; readonly ask: number; readonly value?: unknown; readonly error?: PlainError };

/** Worker to page. */
export type Response =
  | { readonly type: 'ready' }
  | { readonly type: 'result'; readonly id: number; readonly value: unknown; readonly facts?: ModelFacts }
  | {
      readonly type: 'failure';
      readonly id: number;
      readonly error: PlainError;
      readonly facts?: ModelFacts;
    }
  | { readonly type: 'event'; readonly id: number; readonly event: unknown }
  | {
      readonly type: 'ask';
      readonly id: number;
      readonly ask: number;
      readonly what: Question;
      readonly args: readonly unknown[];
    };

/** Things that a running training asks of the page. */
export type Question = 'batch' | 'holdCheckpoint' | 'loadCheckpoint' | 'saveCheckpoint';

/** An error as it travels: structured cloning would lose its class and its fields. */
export interface PlainError {
  readonly name: string;
  readonly message: string;
  readonly stack?: string | undefined;
  readonly fields: Readonly<Record<string, unknown>>;
}

export function toPlainError(error: unknown): PlainError {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error), fields: {} };
  const fields: Record<string, unknown> = {};
  for (const key of ['planned', 'limit', 'step', 'where', 'needed', 'available'] as const)
    if (key in error) fields[key] = (error as unknown as Record<string, unknown>)[key];
  return { name: error.name, message: error.message, stack: error.stack, fields };
}

/** The error with its own class again, so that `instanceof` holds on both sides. */
export function fromPlainError({ name, message, stack, fields }: PlainError): Error {
  const number = (key: string): number => Number(fields[key]);
  const make = (): Error => {
    switch (name) {
      case 'UnsupportedDevice':
      case 'GpuError':
      case 'DeviceLost':
      case 'Aborted':
      case 'InvalidVolume':
      case 'InvalidDataset':
      case 'InvalidModel':
      case 'InvalidOption':
        return new errors[name](message);
      case 'OutOfMemory':
        return new errors.OutOfMemory(message, number('planned'), number('limit'));
      case 'NotFinite':
        return new errors.NotFinite(message, fields['step'] as number | undefined, String(fields['where']));
      case 'QuotaExceeded':
        return new QuotaExceeded(message, number('needed'), number('available'));
      case 'UNet3DError':
        return new errors.UNet3DError(message);
      default:
        return Object.assign(new Error(message), { name });
    }
  };
  const error = make();
  if (stack !== undefined) error.stack = stack;
  return error;
}

/** A source as it travels: a URL cannot be cloned, and as text would be taken for a path. */
export type PlainSource = Exclude<Source, URL> | { readonly url: string };

export const toPlainSource = (source: Source): PlainSource =>
  source instanceof URL ? { url: source.href } : source;

export const fromPlainSource = (source: PlainSource): Source =>
  source instanceof Object && 'url' in source ? new URL(source.url) : source;

/** Cases, or one, without the files that they were prepared from: these are not needed there, and URLs cannot cross over. */
export function withoutFiles<Cases>(cases: Cases): Cases {
  if (Array.isArray(cases)) return cases.map(withoutFiles) as Cases;
  if (!isPlain(cases)) return cases;
  return Object.fromEntries(Object.entries(cases).filter(([key]) => key !== 'images')) as Cases;
}

/** The buffers of every array inside a value of plain objects, arrays and typed arrays, each once. */
export function buffersOf(value: unknown, found = new Set<ArrayBuffer>()): ArrayBuffer[] {
  if (ArrayBuffer.isView(value)) {
    if (value.buffer instanceof ArrayBuffer) found.add(value.buffer);
  } else if (value instanceof ArrayBuffer) found.add(value);
  else if (Array.isArray(value)) {
    // A list of numbers holds no buffer, and may be long.
    if (typeof value[0] === 'object') for (const item of value) buffersOf(item, found);
  } else if (isPlain(value)) for (const item of Object.values(value)) buffersOf(item, found);
  return [...found];
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    [Object.prototype, null].includes(Object.getPrototypeOf(value) as object)
  );
}
