/**
 * What a GPU's compiler makes of the convolution kernels, without the GPU: registers, spills, and how many of the
 * vector instructions where they spend their time are multiply-adds, or products on matrix units. Mesa's RADV up to version 25 compiles for any
 * AMD GPU that it takes for present.
 *   npx tsx bench/code.ts [--family navi31] [--kernels REGEXP] [--listing FILE]
 * Needs RADV (Debian: mesa-vulkan-drivers) and a C compiler.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { requestNodeAdapter } from '../src/gpu/node.ts';
import { PipelineCache } from '../src/gpu/pipelines.ts';
import {
  matrixFeatures,
  matrixForwardConstants,
  matrixKernel,
  matrixKernels,
  matrixUnitsOf,
  matrixWeightConstants,
  subgroupSizeControl,
  type MatrixUnits,
} from '../src/gpu/matrix-units.ts';
import type { Constants, ShaderName, StorageFormat } from '../src/gpu/shader.ts';
import {
  fits,
  forwardConstants,
  forwardNeeds,
  forwardTiles,
  weightConstants,
  weightNeeds,
  weightTiles,
} from '../src/gpu/tiles.ts';
import { kindName } from '../src/gpu/passes.ts';
import { ones, usualWalk, type Walk } from '../src/gpu/walk.ts';
import { isUpconv } from '../src/model/pass-bench.ts';

const { values: options } = parseArgs({
  options: {
    family: { type: 'string', default: 'navi31' },
    kernels: { type: 'string', default: '.' },
    listing: { type: 'string' },
  },
});
const mark = '@@@ ';

const doubling = [2, 2, 2] as const;
/** 3×3×3, 1×1×1 and 3×3×3 with stride 2; transposed, its gradient; and those of a kernel of 2×2×2 with stride 2. */
const walks: readonly Walk[] = [
  usualWalk,
  { ...usualWalk, kernel: ones },
  { ...usualWalk, stride: doubling },
  { ...usualWalk, dilation: doubling },
  { kernel: doubling, stride: ones, dilation: doubling },
  { kernel: doubling, stride: doubling, dilation: ones },
];

type Compiled = [name: string, shader: ShaderName, Constants, StorageFormat?];

/** Behind a norm, with sixteen input channels or more, rows of whole quads; volumes in float32, on matrix units float16. */
function* kernels(limits: GPUSupportedLimits, units: MatrixUnits | undefined): Generator<Compiled> {
  const forward = { INPUTS: 1, NORM_A: true, NORM_B: false };
  const statistics = { STATISTICS: true };
  yield ['forward, voxels', 'conv3/forward', forward];
  yield ['forward, voxels, statistics', 'conv3/forward', { ...forward, ...statistics }];
  for (const [name, tile] of Object.entries(forwardTiles)) {
    if (!fits(forwardNeeds(tile), limits)) continue;
    const constants = { ...forward, RAGGED: false, ...forwardConstants(tile) };
    yield [`forward, ${name}`, 'conv3/forward_tiled', constants];
    yield [`forward, ${name}, statistics`, 'conv3/forward_tiled', { ...constants, ...statistics }];
  }
  yield ['weights, lines', 'conv3/weight_gradient', { NORM: true, WORKGROUP: 48 }];
  for (const [name, tile] of Object.entries(weightTiles)) {
    const constants = { NORM: true, RAGGED: false, ...weightConstants(tile, tile.columns) };
    if (fits(weightNeeds(tile), limits)) yield [`weights, ${name}`, 'conv3/weight_gradient_tiled', constants];
  }
  for (const walk of walks) {
    const names = (kind: 'forward' | 'weights') =>
      matrixKernels(units, { kind, walk, precision: 'f16' }).map((name) => ({
        name: `${kindName({ kind, walk })}, ${name}`,
        kernel: matrixKernel(name)!,
      }));
    for (const { name, kernel } of names('forward')) {
      const constants = { ...forward, RAGGED: false, ...matrixForwardConstants(kernel, walk) };
      yield [name, 'conv_matrix/forward', constants, 'f16'];
      if (!isUpconv(walk))
        yield [`${name}, statistics`, 'conv_matrix/forward', { ...constants, ...statistics }, 'f16'];
    }
    if (walk.dilation !== ones) continue; // source and gradient change places, and the stride is as above
    for (const { name, kernel } of names('weights')) {
      const constants = { NORM: true, RAGGED: false, ...matrixWeightConstants(kernel, walk) };
      yield [name, 'conv_matrix/weight_gradient', constants, 'f16'];
    }
  }
}

/** Compiles, with a line before each kernel's output of the driver. */
async function compile(): Promise<void> {
  const { adapter, describe } = await requestNodeAdapter({ matrixUnits: true });
  const { maxComputeWorkgroupStorageSize, maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupSizeX } =
    adapter.limits;
  const device = await adapter.requestDevice({
    requiredFeatures: [...matrixFeatures, subgroupSizeControl].filter((name) => adapter.features.has(name)),
    requiredLimits: {
      maxComputeWorkgroupStorageSize,
      maxComputeInvocationsPerWorkgroup,
      maxComputeWorkgroupSizeX,
    },
  });
  writeSync(1, `${describe}\n`);
  const cache = PipelineCache.of(device);
  const units = matrixUnitsOf(adapter.info, device.features, ['f16']);
  for (const [name, shader, constants, format] of kernels(device.limits, units)) {
    if (!new RegExp(options.kernels).test(name)) continue;
    writeSync(2, `\n${mark}${name}\n`);
    await cache.get(shader, constants, format);
  }
  process.exit(0);
}

/**
 * The block of instructions with the most multiply-adds, or products on matrix units where there are any: all of them,
 * and those that are vector arithmetic.
 */
function hottest(listing: string): { multiplyAdds: number; vector: number } {
  const counted = listing.includes('v_wmma') ? /^v_wmma/ : /^v_(dual_)?(fma|mac|mad_f)/;
  const blocks = listing.split(/^BB\d+:$/m).map((block) => {
    const instructions = block.split('\n').flatMap((line) => line.split(';')[0]!.split('::'));
    const vector = instructions.map((text) => text.trim()).filter((text) => text.startsWith('v_'));
    return {
      multiplyAdds: vector.filter((text) => counted.test(text)).length,
      vector: vector.length,
    };
  });
  return blocks.reduce((best, block) => (block.multiplyAdds > best.multiplyAdds ? block : best));
}

function rowOf(output: string): Record<string, string | number> {
  const figure = (name: string) => Number(new RegExp(`^${name}: (\\d+)`, 'm').exec(output)?.[1]);
  const { multiplyAdds, vector } = hottest(/^disasm:\n([^]*?)\n\n\n/m.exec(output)?.[1] ?? '');
  return {
    kernel: output.slice(0, output.indexOf('\n')),
    registers: figure('VGPRs'),
    spilled: figure('Spilled VGPRs'),
    'waves per SIMD': figure('Subgroups per SIMD'),
    'workgroup memory': figure('LDS size'),
    'code, bytes': figure('Code size'),
    'multiply-adds of vector instructions': `${multiplyAdds} of ${vector}`,
  };
}

/** Starts this script once more under the driver, and reads what that says. */
function report(): void {
  const folder = mkdtempSync(join(tmpdir(), 'compile-only-'));
  try {
    const library = join(folder, 'layer.so');
    const source = fileURLToPath(new URL('compile-only.c', import.meta.url));
    execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, source]);
    const layer = {
      name: 'VK_LAYER_compile_only',
      type: 'GLOBAL',
      library_path: library,
      api_version: '1.3.0',
      implementation_version: '1',
      description: 'records and runs nothing',
    };
    writeFileSync(join(folder, 'layer.json'), JSON.stringify({ file_format_version: '1.2.0', layer }));
    // A file: what a driver writes to a pipe that Node has made non-blocking is lost where the pipe is full.
    const listing = join(folder, 'listing');
    const { status, stdout } = spawnSync(
      process.execPath,
      ['--import', 'tsx', fileURLToPath(import.meta.url), '--kernels', options.kernels],
      {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', openSync(listing, 'w')],
        env: {
          ...process.env,
          COMPILE_ONLY: '1',
          UNET3D_ADAPTER: 'Null hardware',
          RADV_FORCE_FAMILY: options.family,
          RADV_DEBUG: 'shaders,shaderstats,nocache',
          VK_ADD_LAYER_PATH: folder,
          VK_INSTANCE_LAYERS: layer.name,
        },
      },
    );
    const text = readFileSync(listing, 'utf8');
    if (status !== 0) throw new Error(`the driver compiled nothing:\n${stdout}${text.slice(-2000)}`);
    if (options.listing !== undefined) writeFileSync(options.listing, text);
    console.log(stdout.trim());
    console.table(text.split(`\n${mark}`).slice(1).map(rowOf));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

if (process.env['COMPILE_ONLY']) await compile();
else report();
