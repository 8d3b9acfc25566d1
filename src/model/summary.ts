/** A plan as text for people: parameters, memory, the largest tensors and what runs. */
import { formatBytes } from '../format.ts';
import type { Plan } from '../gpu/plan.ts';
import { assertOptions } from '../options.ts';
import { object, size3, wholeNumber, withParts } from '../schema.ts';
import type { Size3 } from '../size.ts';
import { completed, type UNet3DConfig } from './config.ts';
import { layoutParameters } from './parameters.ts';

/** Bytes in use at each dispatch: living tensors of the plan, without the model's own. */
function bytesOverStep({ tensors, dispatches }: Plan): number[] {
  const bytes = dispatches.map(() => 0);
  for (const { bytes: size, storage, first, last } of tensors) {
    if (storage === 'shared' || first < 0) continue;
    const whole = storage === 'resident';
    for (let i = whole ? 0 : first; i < (whole ? dispatches.length : last + 1); i++) bytes[i]! += size;
  }
  return bytes;
}

/** The memory in use over the step as a line of bars. */
function sparkline(plan: Plan, columns = 60): string {
  const bytes = bytesOverStep(plan);
  const most = Math.max(...bytes);
  const bars = Array.from({ length: Math.min(columns, bytes.length) }, (_, i) => {
    const part = bytes.slice(
      Math.floor((i * bytes.length) / columns),
      Math.max(Math.floor(((i + 1) * bytes.length) / columns), Math.floor((i * bytes.length) / columns) + 1),
    );
    return '▁▂▃▄▅▆▇█'[Math.min(7, Math.floor((Math.max(...part) / most) * 8))]!;
  });
  return `${bars.join('')} at most ${formatBytes(most)}`;
}

/** Bytes that the dispatches have to do with, each once per dispatch: what memory moves where caches keep the rest. */
const trafficBytes = ({ dispatches }: Plan): number => dispatches.reduce((sum, { bytes }) => sum + bytes, 0);

const sizes = (list: readonly Size3[]): string => list.map((size) => size.join(' × ')).join(', ');

/** What levels are made of where they are not two 3×3×3 convolutions with max-pooling: a line, or none. */
function stagesInWords(config: UNet3DConfig): string[] {
  const {
    architecture,
    units,
    strides,
    kernels,
    block,
    encoderBlocks,
    decoderBlocks,
    down,
    slope,
    decoderFeatures,
    upFeatures,
    decoderKernels,
    stem,
    shortcut,
    bias,
    upBias,
    oddSizes,
    scaleAndShift,
    deepSupervision,
  } = config;
  const remarks = [
    architecture === 'segResNet' && "MONAI's SegResNet",
    architecture === 'residualUnits' && `MONAI's UNet with ${units ?? 0} residual units`,
    block === 'residual' && 'residual blocks',
    encoderBlocks && `${encoderBlocks.join(', ')} blocks per level`,
    decoderBlocks && `${decoderBlocks.join(', ')} convolutions per decoder level`,
    down === 'conv' && 'strided convolutions',
    strides && `strides ${sizes(strides)}`,
    kernels && `kernels ${sizes(kernels)}`,
    decoderFeatures && `features ${decoderFeatures.join(', ')} in the decoder`,
    upFeatures && `features ${upFeatures.join(', ')} coming up`,
    decoderKernels && `kernels ${sizes(decoderKernels)} in the decoder`,
    stem === false && 'no stem',
    shortcut === 'conv' && 'shortcuts by convolution',
    slope !== undefined && `slope ${slope}`,
    bias === false && 'no biases',
    upBias !== undefined && `${upBias ? 'biases' : 'no biases'} on the way up`,
    oddSizes === 'repeat' && 'odd sizes by repetition',
    scaleAndShift === false && 'norms without scale and shift',
    deepSupervision && 'deep supervision',
  ].filter((remark) => typeof remark === 'string');
  return remarks.length > 0 ? [`levels: ${remarks.join('; ')}`] : [];
}

const summaryEntries = {
  config: completed,
  plan: withParts('a plan, such as planTraining gives', 'tensors', 'dispatches', 'buffers'),
  shape: object({ size: size3, batch: wholeNumber(1) }),
};

/**
 * A network and the plan of its step as text: parameters, memory, and the work of each kind of kernel.
 * @example
 * ```js
 * const config = completeConfig({ inChannels: 1, classes: 6, features: [8, 16] });
 * const { plan } = planInference({ config, size: [32, 32, 32], batch: 1 });
 * console.log(summarise(config, plan, { size: [32, 32, 32], batch: 1 }));
 * ```
 */
export function summarise(
  config: UNet3DConfig,
  plan: Plan,
  shape: { size: readonly number[]; batch: number },
): string {
  assertOptions('summarise', summaryEntries, { config, plan, shape });
  const { count } = layoutParameters(config);
  const byKernel = new Map<string, { dispatches: number; flops: number }>();
  for (const { shader, flops } of plan.dispatches) {
    const entry = byKernel.get(shader) ?? { dispatches: 0, flops: 0 };
    byKernel.set(shader, { dispatches: entry.dispatches + 1, flops: entry.flops + flops });
  }
  const kernels = [...byKernel]
    .sort(([, a], [, b]) => b.flops - a.flops)
    .map(
      ([name, { dispatches, flops }]) =>
        `  ${name.padEnd(24)} ${String(dispatches).padStart(5)}   ${(flops / 1e9).toFixed(3).padStart(12)}`,
    );
  const tensors = [...plan.tensors]
    .sort((a, b) => b.bytes - a.bytes)
    .slice(0, 8)
    .map(
      ({ name, bytes, first, last, buffer }) =>
        `  ${name.padEnd(24)} ${formatBytes(bytes).padStart(10)}   ${first}–${last}   buffer ${buffer}`,
    );
  return [
    `3D U-Net: features ${config.features.join(', ')}; ${config.inChannels} channel(s) in, ${config.classes} classes; ${config.norm} norm, ${config.activation}`,
    ...stagesInWords(config),
    `parameters: ${count}`,
    `input: ${shape.batch} × [${shape.size.join(', ')}] (x, y, z), ${plan.precision === 'f16' ? 'float16' : 'float32'}`,
    `memory: ${formatBytes(plan.peakBytes)} in ${plan.buffers.length} buffers and the shared ones; largest binding ${formatBytes(plan.largestBindingBytes)}`,
    `over the step: ${sparkline(plan)}`,
    `work: ${(plan.flops / 1e9).toFixed(3)} GFLOP in ${plan.dispatches.length} dispatches, which read and write ${(trafficBytes(plan) / 1e9).toFixed(2)} GB`,
    '',
    `  ${'kernel'.padEnd(24)} count          GFLOP`,
    ...kernels,
    '',
    `  ${'largest tensors'.padEnd(24)}      bytes   dispatches`,
    ...tensors,
  ].join('\n');
}
