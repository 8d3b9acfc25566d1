/**
 * Matrix units of any sizes, on any adapter that has float16: the kernels as they are, but for the few functions of
 * shaders/common/matrix_units.wgsl. In their place each thread of a "subgroup" has its share of the numbers of a result,
 * and reads rows and columns from where the matrices would have been loaded, which nothing writes before they are used.
 */
import { Gpu } from '../../src/gpu/device.ts';
import { matrixFeatures, type MatrixShape } from '../../src/gpu/matrix-units.ts';
import { alteredDevice, compiling } from './altered-device.ts';
import { testDevice } from './device.ts';

const subgroup = 64;

const loops = /* wgsl */ `
struct Left { at: u32, pitch: u32, isStaged: bool }
struct Right { at: u32, pitch: u32, isStaged: bool }
alias Result = array<f32, share>;

const share = M * N / SUBGROUP; // of a result
var<private> lane: u32;

fn stagedLeft(at: u32, pitch: u32) -> Left { return Left(at, pitch, true); }
fn operandLeft(at: u32, pitch: u32) -> Left { return Left(at, pitch, false); }
fn stagedRight(at: u32, pitch: u32) -> Right { return Right(at, pitch, true); }
fn operandRight(at: u32, pitch: u32) -> Right { return Right(at, pitch, false); }

fn multiplyAdd(left: Left, right: Right, sum: Result) -> Result {
  var next = sum;
  for (var i = 0u; i < share; i++) {
    let row = (i * SUBGROUP + lane) / N;
    let column = (i * SUBGROUP + lane) % N;
    for (var k = 0u; k < K; k++) {
      let a = left.at + row * left.pitch + k;
      let b = select(right.at + column * right.pitch + k, right.at + k * right.pitch + column, right.isStaged);
      var factors: vec2<f16>;
      if (left.isStaged) { factors.x = staged[a]; } else { factors.x = operand[a]; }
      if (right.isStaged) { factors.y = staged[b]; } else { factors.y = operand[b]; }
      next[i] += f32(factors.x) * f32(factors.y);
    }
  }
  return next;
}

fn layOut(at: u32, sum: Result) {
  for (var i = 0u; i < share; i++) {
    results[at + (i * SUBGROUP + lane) % N * M + (i * SUBGROUP + lane) / N] = sum[i];
  }
}
`;

/** Of halves from one staged voxel to the next, those that hold channels. */
const unpadded = (pitch: number): number => (pitch > 8 ? pitch - 8 : pitch);

function emulated(code: string): string {
  if (!code.includes('subgroup_matrix')) return code;
  return (
    code
      .replace(/^enable (subgroups|chromium_experimental_subgroup_matrix);\n/gm, '')
      // Banks are no matter here, and without what avoids them, all blocks fit 32 KiB.
      .replace(/^const PITCH: u32 = (\d+)u;$/m, (_, pitch: string) => `const PITCH = ${unpadded(+pitch)}u;`)
      .replace(/^alias (Left|Right|Result) = .*$/gm, '')
      .replace(/^fn (stagedLeft|stagedRight|operandLeft|operandRight|layOut)\b.*$/gm, '')
      .replace(/^fn multiplyAdd\b[^}]*\}$/m, loops)
      .replace(/@builtin\(subgroup_id\) subgroup: u32,/, '')
      .replace(/^fn main\([^{]*\{$/m, '$&\n  lane = local % SUBGROUP;\n  let subgroup = local / SUBGROUP;')
      // Ends that compilers do not know: they would unroll for minutes.
      .replace(/^( *for \(var (\w+) = 0u; \2 < )([^;]*);/gm, '$1min($3, params.rowQuads * ($3));')
  );
}

/** A device that claims to have these matrix units, and computes them by loops. */
function claiming(device: GPUDevice, { m, n, k }: MatrixShape): GPUDevice {
  const { vendor, architecture, device: name, description } = device.adapterInfo;
  const config = { M: m, N: n, K: k, componentType: 'f16', resultComponentType: 'f32' };
  const claims = {
    features: new Set(
      [...device.features, ...matrixFeatures].filter((feature) => feature !== 'subgroup-size-control'),
    ),
    adapterInfo: {
      ...{ vendor, architecture, device: name, description },
      ...{ subgroupMinSize: subgroup, subgroupMaxSize: subgroup, subgroupMatrixConfigs: [config] },
    },
    ...compiling(device, emulated),
  };
  return alteredDevice(device, claims);
}

const opened = new Map<string, Promise<Gpu | undefined>>();

/** A device with matrix units of one size, the same for all who ask; undefined where the adapter has no float16. */
export function emulatedDevice(shape: MatrixShape): Promise<Gpu | undefined> {
  const name = [shape.m, shape.n, shape.k].join('x');
  const gpu = opened.get(name) ?? open(shape);
  opened.set(name, gpu);
  return gpu;
}

async function open(shape: MatrixShape): Promise<Gpu | undefined> {
  const { device } = await testDevice();
  if (!device.features.has('shader-f16')) return undefined;
  return Gpu.open({ device: claiming(device, shape), matrixUnits: true });
}
