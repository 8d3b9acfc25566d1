/** Defaults for a data set, and what a training will take on the GPU, before anything is allocated. */
import {
  adam,
  alternatives,
  completeConfig,
  diceCrossEntropy,
  lossShape,
  OutOfMemory,
  paddedSize,
  planTraining,
  splitCases,
  type Size3,
  type UNet3DConfig,
} from 'unet3d-gpu/worker';
import type { DeviceFacts } from './device.ts';
import { state } from './state.ts';

const GiB = 2 ** 30;
export const loss = diceCrossEntropy();

/** x, y, z of the largest volume on every axis. */
export function largestShape(): Size3 {
  const shapes = (state.report?.cases ?? []).map(({ shape }) => shape);
  const most = (axis: 0 | 1 | 2): number => Math.max(1, ...shapes.map((shape) => shape[axis]));
  return [most(0), most(1), most(2)];
}

export const classCount = (): number => {
  const values = (state.report?.fingerprint?.classes ?? [])
    .map(({ value }) => value)
    .filter((value) => value < 255);
  return Math.max(2, state.labels.length, ...values.map((value) => value + 1));
};

export const channelCount = (): number => state.report?.fingerprint?.intensities.length ?? 1;

export const config = (): UNet3DConfig =>
  completeConfig({ inChannels: channelCount(), classes: classCount(), features: state.settings.features });

/** Sets parts, preprocessing and settings from what was found in the files. */
export function chooseDefaults(device: DeviceFacts | undefined): void {
  const print = state.report?.fingerprint;
  if (!print) return;
  state.preprocessing = {
    orientation: 'RAS',
    spacing: print.spacing.median,
    normalization: print.intensities.map(() => 'z-score' as const),
    padding: 'zeros at the far end',
  };
  const shape = largestShape();
  const { settings } = state;
  // Three halvings of a short axis leave nothing to see; a software adapter has time for few features only.
  const levels = Math.min(...shape) < 24 ? 3 : 4;
  settings.features = (device?.software ? [8, 16, 32, 64] : [16, 32, 64, 128]).slice(
    0,
    device?.software ? 2 : levels,
  );
  settings.memory = Number(((device?.budget ?? 4 * GiB) / GiB).toFixed(1));
  settings.patch = undefined;
  settings.epochs = device?.software
    ? 20
    : Math.min(200, Math.max(20, Math.round(1200 / Math.max(1, state.cases.length))));
  const planned = plan(device);
  if (planned.problem !== undefined) {
    const [fitting] = planned.alternatives;
    if (fitting) {
      settings.patch = [...fitting.size];
      settings.batchSize = fitting.batch;
      settings.features = [...fitting.config.features];
    }
  }
}

/** A fifth of the subjects for validation. */
export function divide(): void {
  const facts = new Map(state.report?.cases.map((item) => [item.id, item]));
  const usable = state.cases.filter(({ id, label }) => label && facts.has(id));
  for (const item of state.cases) item.part = usable.includes(item) ? 'train' : 'unused';
  const subjects = new Set(usable.map(({ subject }) => subject)).size;
  if (subjects < 2) return;
  const known = usable.map(({ id, subject }) => ({
    id,
    subject,
    classes: [...(facts.get(id)?.classVoxels?.keys() ?? [])],
  }));
  const { validation } = splitCases(known, { fractions: [0.8, 0.2, 0] });
  for (const item of usable) if (validation.cases.includes(item.id)) item.part = 'validation';
}

export interface Planned {
  readonly size: Size3;
  readonly bytes: number;
  readonly flops: number;
  readonly problem?: string;
  readonly alternatives: readonly { config: UNet3DConfig; size: Size3; batch: number; bytes: number }[];
}

/** What one training step takes, and what would fit if it does not. */
export function plan(device: DeviceFacts | undefined): Planned {
  const { settings } = state;
  const network = config();
  const size = paddedSize(network, settings.patch ?? largestShape());
  const wish = { config: network, size, batch: settings.batchSize };
  const planner = { limits: device!.limits, loss: lossShape(loss, network.classes), optimizer: adam() };
  const budget = settings.memory * GiB;
  try {
    const { peakBytes, flops } = planTraining({ ...wish, ...planner }).plan;
    const text = `needs more than the ${settings.memory} GiB allowed below`;
    return {
      size,
      bytes: peakBytes,
      flops,
      ...(peakBytes > budget && { problem: text }),
      alternatives: peakBytes > budget ? alternatives(wish, budget, planner) : [],
    };
  } catch (error) {
    if (!(error instanceof OutOfMemory)) throw error;
    return {
      size,
      bytes: error.planned,
      flops: NaN,
      problem: error.message,
      alternatives: alternatives(wish, budget, planner),
    };
  }
}
