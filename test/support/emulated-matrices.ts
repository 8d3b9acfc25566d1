/**
 * Matrix units of any sizes, on any adapter that has float16: the kernels as they are, but for the few functions of
 * shaders/common/matrix_units.wgsl. In their place each thread of a "subgroup" has its share of the numbers of a result,
 * and reads rows and columns from where the matrices would have been loaded, which nothing writes before they are used.
 */
import { Gpu } from '../../src/gpu/device.ts';
import { matrixFeatures, type MatrixShape } from '../../src/gpu/matrix-units.ts';
import { testDevice } from './device.ts';

const subgroup = 64;

const loops = /* wgsl */ `
struct Left { at: u32, pitch: u32, isStaged: bool }
struct Right { at: u32, pitch: u32, isStaged: bool }
alias Result = array<f32, M * N / SUBGROUP>;

var<private> lane: u32;
var<private> depth: u32; // K, unknown to compilers, which would unroll for minutes

fn stagedLeft(at: u32, pitch: u32) -> Left { return Left(at, pitch, true); }
fn operandLeft(at: u32, pitch: u32) -> Left { return Left(at, pitch, false); }
fn stagedRight(at: u32, pitch: u32) -> Right { return Right(at, pitch, true); }
fn operandRight(at: u32, pitch: u32) -> Right { return Right(at, pitch, false); }

fn multiplyAdd(left: Left, right: Right, sum: Result) -> Result {
  var next = sum;
  for (var i = 0u; i < M * N / SUBGROUP; i++) {
    let row = (i * SUBGROUP + lane) / N;
    let column = (i * SUBGROUP + lane) % N;
    for (var k = 0u; k < depth; k++) {
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
  for (var i = 0u; i < M * N / SUBGROUP; i++) {
    results[at + (i * SUBGROUP + lane) % N * M + (i * SUBGROUP + lane) / N] = sum[i];
  }
}
`;

function emulated(code: string): string {
  if (!code.includes('subgroup_matrix')) return code;
  return code
    .replace(/^enable (subgroups|chromium_experimental_subgroup_matrix);\n/gm, '')
    .replace(/^alias (Left|Right|Result) = .*$/gm, '')
    .replace(/^fn (stagedLeft|stagedRight|operandLeft|operandRight|layOut)\b.*$/gm, '')
    .replace(/^fn multiplyAdd\b[^}]*\}$/m, loops)
    .replace(/@builtin\(subgroup_id\) subgroup: u32,/, '')
    .replace(
      /^fn main\([^{]*\{$/m,
      '$&\n  lane = local % SUBGROUP;\n  depth = min(K, params.rowQuads * K);\n  let subgroup = local / SUBGROUP;',
    );
}

/** A device that claims to have these matrix units, and computes them by loops. */
function claiming(device: GPUDevice, { m, n, k }: MatrixShape): GPUDevice {
  const { vendor, architecture, device: name, description } = device.adapterInfo;
  const config = { M: m, N: n, K: k, componentType: 'f16', resultComponentType: 'f32' };
  const claims: Readonly<Record<PropertyKey, unknown>> = {
    features: new Set(
      [...device.features, ...matrixFeatures].filter((feature) => feature !== 'subgroup-size-control'),
    ),
    adapterInfo: {
      ...{ vendor, architecture, device: name, description },
      ...{ subgroupMinSize: subgroup, subgroupMaxSize: subgroup, subgroupMatrixConfigs: [config] },
    },
    createShaderModule: ({ code, ...rest }: GPUShaderModuleDescriptor) =>
      device.createShaderModule({ ...rest, code: emulated(code) }),
  };
  return new Proxy(device, {
    get(_, property) {
      if (property in claims) return claims[property];
      const value: unknown = Reflect.get(device, property, device);
      return typeof value === 'function' ? (value.bind(device) as unknown) : value;
    },
    set: (_, property, value) => Reflect.set(device, property, value, device),
  });
}

/** A device with matrix units of one size; undefined where the adapter has no float16. */
export async function emulatedDevice(shape: MatrixShape): Promise<Gpu | undefined> {
  const { device } = await testDevice();
  if (!device.features.has('shader-f16')) return undefined;
  return Gpu.open({ device: claiming(device, shape), matrixUnits: true });
}
