/** A plan as text for people: parameters, memory, the largest tensors and what runs. */
import type { Plan } from '../gpu/plan.ts';
import type { UNet3DConfig } from './config.ts';
import { layoutParameters } from './parameters.ts';

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** Bytes with a binary unit and three digits. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toPrecision(value >= 1000 ? 4 : 3)} ${units[unit]}`;
}

export function summarise(
  config: UNet3DConfig,
  plan: Plan,
  shape: { size: readonly number[]; batch: number },
): string {
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
    `parameters: ${count}`,
    `input: ${shape.batch} × [${shape.size.join(', ')}] (x, y, z)`,
    `memory: ${formatBytes(plan.peakBytes)} in ${plan.buffers.length} buffers and the shared ones; largest binding ${formatBytes(plan.largestBindingBytes)}`,
    `work: ${(plan.flops / 1e9).toFixed(3)} GFLOP in ${plan.dispatches.length} dispatches`,
    '',
    `  ${'kernel'.padEnd(24)} count          GFLOP`,
    ...kernels,
    '',
    `  ${'largest tensors'.padEnd(24)}      bytes   dispatches`,
    ...tensors,
  ].join('\n');
}
