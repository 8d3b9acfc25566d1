/** `info`: the adapter that would be used, its limits and features, and versions, for people and bug reports; its self-test. */
import { readdirSync } from 'node:fs';
import { Command } from 'commander';
import { matrixUnitsOf, type MatrixShape } from '../../gpu/matrix-units.ts';
import { adapterNotice, requestNodeAdapter, type NodeAdapter } from '../../gpu/node.ts';
import { formatBytes } from '../../format.ts';
import { selfTest, type SelfTestOptions } from '../../self-test/index.ts';
import type { SelfTestReport } from '../../self-test/report.ts';
import { Unsatisfactory } from '../failure.ts';
import { addGpuOptions, announceAdapter, gpuWishes, type GpuArguments } from '../gpu.ts';
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

interface Options extends GpuArguments {
  readonly json?: boolean;
  readonly selfTest?: boolean;
}

export function infoCommand(io: Io): Command {
  const command = new Command('info').description(
    'Show the GPU adapter that would be used, its limits and features, and versions.',
  );
  return addGpuOptions(command)
    .option('--json', 'print JSON')
    .option('--self-test', 'try every kernel and a short training on it; the report is JSON to hand on')
    .addHelpText(
      'after',
      `
Which adapter: what VK_DRIVER_FILES or UNET3D_ADAPTER name (system, lavapipe,
swiftshader, or a part of an adapter's name), else the system's, else a fetched
lavapipe, else SwiftShader.

--self-test holds every kernel to stored answers of float64 loops and five steps of
training to PyTorch's losses. Standard output is one JSON document; the exit code
is 1 where something is wrong.

Examples:
  unet3d-gpu info
  unet3d-gpu info --self-test > self-test.json
  unet3d-gpu info --matrix-units
  UNET3D_ADAPTER=swiftshader unet3d-gpu info --json`,
    )
    .action(async ({ json = false, selfTest: wanted = false, ...options }: Options) => {
      if (wanted) return tryOut(io, options);
      const found = await requestNodeAdapter(gpuWishes(options));
      const info = collect(found, options);
      if (json) return io.out(...toJson(info, 2).split('\n'));
      io.out(...`GPU: ${adapterNotice(found)}`.split('\n'));
      const gpus = countGpus();
      if (gpus > 1)
        io.out(
          `This machine has ${gpus} GPUs. A process uses one; to train on several: mpirun -np ${gpus} unet3d-gpu train …`,
        );
      io.out('', 'Limits');
      for (const [name, value] of Object.entries(info.limits))
        io.out(`  ${name.padEnd(36)} ${/Size$/.test(name) ? formatBytes(value) : value}`);
      io.out('', 'Features', `  ${info.features.join(', ') || 'none'}`);
      io.out('', 'Matrix units, float16 into float32');
      io.out(`  ${info.matrixUnits.map(nameOf).join(', ') || noMatrixUnits(options)}`);
      io.out('', 'Versions');
      for (const [name, value] of Object.entries(info.versions)) io.out(`  ${name.padEnd(36)} ${value}`);
    });
}

/** As the kernel of Linux lists them; 0 elsewhere. */
function countGpus(): number {
  const count = (folder: string, pattern: RegExp): number => {
    try {
      return readdirSync(folder).filter((name) => pattern.test(name)).length;
    } catch {
      return 0;
    }
  };
  return Math.max(count('/dev', /^nvidia\d+$/), count('/dev/dri', /^renderD\d+$/));
}

const nameOf = ({ m, n, k }: MatrixShape): string => `${m}x${n}x${k}`;

/** In Node, adapters only offer them if asked. */
const noMatrixUnits = ({ matrixUnits }: GpuArguments): string =>
  matrixUnits === undefined ? 'none unless asked for: --matrix-units' : 'none';

function collect({ adapter, describe, source }: NodeAdapter, options: GpuArguments) {
  const { vendor, architecture, device, description } = adapter.info;
  return {
    adapter: { describe, source, vendor, architecture, device, description },
    limits: Object.fromEntries(shownLimits.map((name) => [name, adapter.limits[name]])),
    features: [...adapter.features].sort(),
    matrixUnits:
      (options.matrixUnits ?? true)
        ? (matrixUnitsOf(adapter.info, adapter.features, ['f16'])?.shapes ?? [])
        : [],
    versions: versions(),
  };
}

/** Runs the self-test: what goes wrong in words on standard error, the report on standard output. */
async function tryOut(io: Io, options: GpuArguments): Promise<void> {
  await announceAdapter(io, options);
  const onProgress: SelfTestOptions['onProgress'] = (part, done, parts) => {
    if (done % 10 === 0) io.err(`self-test: ${done} of ${parts}: ${part}`);
  };
  const report = await selfTest({ signal: io.signal, onProgress, ...gpuWishes(options) });
  const problems = problemsOf(report);
  io.out(...toJson({ ...report, versions: versions() }, 2).split('\n'));
  if (report.left.length > 0) io.err(`Not tried for want of time: ${report.left.join('; ')}`);
  io.err(...problems, `self-test: ${report.right ? 'all is right' : 'WRONG'} after ${report.seconds} s`);
  if (!report.right)
    throw new Unsatisfactory(
      'this adapter and driver compute wrongly: do not train or predict on them; hand on the report',
    );
}

function problemsOf({ kernels, training }: SelfTestReport): string[] {
  const wrong = kernels.filter(({ right }) => !right);
  const { problem, right, sameBits, losses, expected } = training;
  const trained =
    problem === undefined
      ? [
          ...(right ? [] : [`losses ${losses.join(', ')}; ${expected.join(', ')} expected`]),
          ...(sameBits ? [] : ['a second one from the same weights ended with other bits']),
        ]
      : [problem];
  return [
    ...wrong.map(
      ({ op, kernels: which, storage, problem: found }) => `${op} (${which}, ${storage}): ${found}`,
    ),
    ...trained.map((text) => `training: ${text}`),
  ];
}
