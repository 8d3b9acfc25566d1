/** `info`: the adapter that would be used, its limits and features, and versions, for people and bug reports. */
import { Command } from 'commander';
import { adapterNotice, requestNodeAdapter, type NodeAdapter } from '../../gpu/node.ts';
import { formatBytes } from '../../format.ts';
import type { Io } from '../io.ts';
import { versions } from '../provenance.ts';
import { toJson } from '../text.ts';

const shownLimits = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupsPerDimension',
  'minStorageBufferOffsetAlignment',
] as const;

export function infoCommand(io: Io): Command {
  return new Command('info')
    .description('Show the GPU adapter that would be used, its limits and features, and versions.')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Which adapter: what VK_DRIVER_FILES or UNET3D_ADAPTER name (system, lavapipe,
swiftshader, or a part of an adapter's name), else the system's, else a fetched
lavapipe, else SwiftShader.

Examples:
  unet3d-gpu info
  UNET3D_ADAPTER=swiftshader unet3d-gpu info --json`,
    )
    .action(async ({ json = false }: { json?: boolean }) => {
      const found = await requestNodeAdapter();
      const info = collect(found);
      if (json) return io.out(...toJson(info, 2).split('\n'));
      io.out(...`GPU: ${adapterNotice(found)}`.split('\n'));
      io.out('', 'Limits');
      for (const [name, value] of Object.entries(info.limits))
        io.out(`  ${name.padEnd(36)} ${/Size$/.test(name) ? formatBytes(value) : value}`);
      io.out('', 'Features', `  ${info.features.join(', ') || 'none'}`);
      io.out('', 'Versions');
      for (const [name, value] of Object.entries(info.versions)) io.out(`  ${name.padEnd(36)} ${value}`);
    });
}

function collect({ adapter, describe, source }: NodeAdapter) {
  const { vendor, architecture, device, description } = adapter.info;
  return {
    adapter: { describe, source, vendor, architecture, device, description },
    limits: Object.fromEntries(shownLimits.map((name) => [name, adapter.limits[name]])),
    features: [...adapter.features].sort(),
    versions: versions(),
  };
}
