// A block of outputs of a convolution, RUNS runs of RUN places along x by LINES rows by PLANES planes, and in workgroup
// memory, as float16, all voxels of K or more channels that it sees: channels lie side by side, so that every tap is
// the same memory from another voxel on. A place is one output; along an axis with dilation, a pair of them above one
// voxel of the source. For kernels that define RUN and, in `params`, `height`, `depth`, `rowQuads` of the source.

// Along x, y and z: taps, 1 to 3, of which (taps - 1) / 2 lie before an output; source voxels from one output to the
// next, 1 or 2; and 2 where a zero stands between any two source voxels, with taps / 2 before an output.
const KERNEL_X: u32 = 3u;
const KERNEL_Y: u32 = 3u;
const KERNEL_Z: u32 = 3u;
const STRIDE_X: u32 = 1u;
const STRIDE_Y: u32 = 1u;
const STRIDE_Z: u32 = 1u;
const DILATION_X: u32 = 1u;
const DILATION_Y: u32 = 1u;
const DILATION_Z: u32 = 1u;
const RUNS: u32 = 2u;
const LINES: u32 = 4u;
const PLANES: u32 = 4u;
const OVERFLOWS: bool = false; // whether it is a gradient that is staged
const PITCH: u32 = 8u; // halves from one staged voxel to the next: a multiple of eight, as matrices begin at 16 bytes

const taps = KERNEL_X * KERNEL_Y * KERNEL_Z;
const columns = (RUNS * RUN - 1u) * STRIDE_X + (KERNEL_X - 1u) / DILATION_X + 1u;
const rows = (LINES - 1u) * STRIDE_Y + (KERNEL_Y - 1u) / DILATION_Y + 1u;
const planes = (PLANES - 1u) * STRIDE_Z + (KERNEL_Z - 1u) / DILATION_Z + 1u;
// Voxels that a row, column and plane begin before their first place; a pair sees none before its voxel.
const before = (KERNEL_X - 1u) / 2u * (2u - DILATION_X);
const beforeY = (KERNEL_Y - 1u) / 2u * (2u - DILATION_Y);
const beforeZ = (KERNEL_Z - 1u) / 2u * (2u - DILATION_Z);
const quads = before + (columns - before + 3u) / 4u;          // that hold a staged row
const spots = quads * rows * planes;                          // quads of one channel

var<workgroup> staged: array<f16, planes * rows * columns * PITCH>; // [z][y][x][channel]

// The corner of a block in the volume of places.
struct Corner { q: u32, y: u32, z: u32, sample: u32 }

// A quad of the source and where it is staged.
struct Spot { q: u32, y: u32, z: u32, column: u32, at: u32, outside: bool }

// What lies before the volume wraps round to large numbers.
fn spotOf(i: u32, corner: Corner) -> Spot {
  let j = i % quads;
  let row = i / quads % rows;
  let plane = i / (quads * rows) % planes;
  var spot: Spot;
  spot.q = corner.q * STRIDE_X + j - before;
  spot.y = corner.y * STRIDE_Y + row - beforeY;
  spot.z = corner.z * STRIDE_Z + plane - beforeZ;
  spot.column = 4u * j - 3u * before;
  spot.at = ((plane * rows + row) * columns + spot.column) * PITCH;
  spot.outside = spot.q >= params.rowQuads || spot.y >= params.height || spot.z >= params.depth;
  return spot;
}

fn put(spot: Spot, own: u32, value: vec4<f32>) {
  let halves = toHalves(value, OVERFLOWS);
  for (var i = 0u; i < 4u; i++) {
    if (spot.column + i < columns) { staged[spot.at + i * PITCH + own] = halves[i]; }
  }
}

// Where the first voxel that a tap sees of a run is staged, in halves.
fn seenAt(run: u32, line: u32, plane: u32, tap: u32) -> u32 {
  let x = run * RUN * STRIDE_X + tap % KERNEL_X / DILATION_X;
  let y = line * STRIDE_Y + tap / KERNEL_X % KERNEL_Y / DILATION_Y;
  let z = plane * STRIDE_Z + tap / (KERNEL_X * KERNEL_Y) / DILATION_Z;
  return ((z * rows + y) * columns + x) * PITCH;
}

// Which outputs of their pairs a tap meets a voxel for: for the others it meets a zero.
fn metBy(tap: u32) -> vec3<u32> {
  return vec3<u32>(
    (tap % KERNEL_X + KERNEL_X / 2u) % DILATION_X,
    (tap / KERNEL_X % KERNEL_Y + KERNEL_Y / 2u) % DILATION_Y,
    (tap / (KERNEL_X * KERNEL_Y) + KERNEL_Z / 2u) % DILATION_Z,
  );
}
