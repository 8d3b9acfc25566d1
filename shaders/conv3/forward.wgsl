// 3×3×3 convolution, stride 1, zero padding 1, over one input or over two that stand for their
// concatenation. An input may be the raw output of an earlier convolution: norm and activation are
// then applied as it is read, and the zero halo is that of the activated volume. With weights packed
// flipped and transposed this is also the gradient with respect to the input. Assigns target, or with
// ADD accumulates into it; with STATISTICS leaves those of what it stores.
// One thread: four voxels along x, eight output channels.
// include "common/volume.wgsl"
// include "common/flat_parts.wgsl"

const INPUTS: u32 = 1u;
const NORM_A: bool = false;
const NORM_B: bool = false;
const ADD: bool = false;
const SHORT: bool = false; // a variable chooses among the sums, so that SwiftShader keeps them in memory

struct Params {
  width: u32, height: u32, depth: u32, rowQuads: u32,
  channelsA: u32, channelsB: u32, channelsOut: u32,
  plane0: u32,                              // first plane of this dispatch
  startA: u32, startB: u32, startTarget: u32, // quads before each binding
  slopeA: f32, slopeB: f32,
  biased: u32, // 0: without bias
  tiles: u32, startParts: u32, // of the statistics
}

@group(0) @binding(0) var<storage, read> sourceA: array<Quad>;
@group(0) @binding(1) var<storage, read> scaleShiftsA: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> sourceB: array<Quad>;
@group(0) @binding(3) var<storage, read> scaleShiftsB: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read> weights: array<vec4<f32>>; // [out block][in][27][8]
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read_write> target_: array<Quad>;
@group(0) @binding(7) var<storage, read_write> parts: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

// A quad of x with its two neighbours.
struct Row { left: f32, middle: vec4<f32>, right: f32 }

fn readA(index: u32, q: u32, channel: u32, sample: u32) -> Row {
  let last = arrayLength(&sourceA) - 1u;
  let hasLeft = q > 0u;
  let hasRight = q + 1u < params.rowQuads;
  var row: Row;
  row.left = toFloat(sourceA[max(index, 1u) - 1u]).w;
  row.middle = toFloat(sourceA[index]);
  row.right = toFloat(sourceA[min(index + 1u, last)]).x;
  if (NORM_A) {
    let scaleShift = scaleShiftsA[sample * params.channelsA + channel];
    row.left = activate1(row.left, scaleShift, params.slopeA);
    row.middle = inside(activate4(row.middle, scaleShift, params.slopeA), q, params.width);
    row.right = activate1(row.right, scaleShift, params.slopeA);
  }
  row.left = select(0.0, row.left, hasLeft);
  row.right = select(0.0, row.right, hasRight);
  return row;
}

fn readB(index: u32, q: u32, channel: u32, sample: u32) -> Row {
  let last = arrayLength(&sourceB) - 1u;
  let hasLeft = q > 0u;
  let hasRight = q + 1u < params.rowQuads;
  var row: Row;
  row.left = toFloat(sourceB[max(index, 1u) - 1u]).w;
  row.middle = toFloat(sourceB[index]);
  row.right = toFloat(sourceB[min(index + 1u, last)]).x;
  if (NORM_B) {
    let scaleShift = scaleShiftsB[sample * params.channelsB + channel];
    row.left = activate1(row.left, scaleShift, params.slopeB);
    row.middle = inside(activate4(row.middle, scaleShift, params.slopeB), q, params.width);
    row.right = activate1(row.right, scaleShift, params.slopeB);
  }
  row.left = select(0.0, row.left, hasLeft);
  row.right = select(0.0, row.right, hasRight);
  return row;
}

// Gives back what is stored.
fn store(voxels: vec4<f32>, channel: u32, base: u32, q: u32) -> vec4<f32> {
  if (channel >= params.channelsOut) { return voxels; }
  var value = voxels;
  if (params.biased > 0u) { value += bias[channel]; }
  let at = base + channel * params.height * params.rowQuads;
  if (ADD) { value += toFloat(target_[at]); }
  value = inside(value, q, params.width);
  target_[at] = toQuad(value);
  return asStored(value);
}

@compute @workgroup_size(64)
fn main(
  @builtin(global_invocation_id) id: vec3<u32>,
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let q = id.x % params.rowQuads;
  let y = id.x / params.rowQuads;
  let exists = y < params.height;
  let block = group.y;
  let plane = params.plane0 + group.z;
  let z = plane % params.depth;
  let sample = plane / params.depth;
  let channels = select(0u, params.channelsA + params.channelsB, exists);

  var sums = array<vec4<f32>, 8>();
  for (var channel = 0u; channel < channels; channel++) {
    for (var zy = 0u; zy < 9u; zy++) {
      let dz = zy / 3u;
      let dy = zy % 3u;
      if (z + dz == 0u || z + dz > params.depth || y + dy == 0u || y + dy > params.height) { continue; }
      var row: Row;
      if (INPUTS == 1u || channel < params.channelsA) {
        let line = ((plane + dz - 1u) * params.channelsA + channel) * params.height + y + dy - 1u;
        row = readA(line * params.rowQuads + q - params.startA, q, channel, sample);
      } else {
        let own = channel - params.channelsA;
        let line = ((plane + dz - 1u) * params.channelsB + own) * params.height + y + dy - 1u;
        row = readB(line * params.rowQuads + q - params.startB, q, own, sample);
      }
      let w = ((block * channels + channel) * 9u + zy) * 6u;
      let before = vec4<f32>(row.left, row.middle.xyz);
      let after = vec4<f32>(row.middle.yzw, row.right);
      let lowBefore = weights[w];
      let lowHere = weights[w + 2u];
      let lowAfter = weights[w + 4u];
      sums[0] = sums[0] + before * lowBefore.x + row.middle * lowHere.x + after * lowAfter.x;
      sums[1] = sums[1] + before * lowBefore.y + row.middle * lowHere.y + after * lowAfter.y;
      sums[2] = sums[2] + before * lowBefore.z + row.middle * lowHere.z + after * lowAfter.z;
      sums[3] = sums[3] + before * lowBefore.w + row.middle * lowHere.w + after * lowAfter.w;
      let highBefore = weights[w + 1u];
      let highHere = weights[w + 3u];
      let highAfter = weights[w + 5u];
      sums[4] = sums[4] + before * highBefore.x + row.middle * highHere.x + after * highAfter.x;
      sums[5] = sums[5] + before * highBefore.y + row.middle * highHere.y + after * highAfter.y;
      sums[6] = sums[6] + before * highBefore.z + row.middle * highHere.z + after * highAfter.z;
      sums[7] = sums[7] + before * highBefore.w + row.middle * highHere.w + after * highAfter.w;
    }
  }

  let base = (plane * params.channelsOut * params.height + y) * params.rowQuads + q - params.startTarget;
  if (exists) {
    if (SHORT) {
      for (var c = 0u; c < 8u; c++) { sums[c] = store(sums[c], block * 8u + c, base, q); }
    } else {
      sums[0] = store(sums[0], block * 8u, base, q);
      sums[1] = store(sums[1], block * 8u + 1u, base, q);
      sums[2] = store(sums[2], block * 8u + 2u, base, q);
      sums[3] = store(sums[3], block * 8u + 3u, base, q);
      sums[4] = store(sums[4], block * 8u + 4u, base, q);
      sums[5] = store(sums[5], block * 8u + 5u, base, q);
      sums[6] = store(sums[6], block * 8u + 6u, base, q);
      sums[7] = store(sums[7], block * 8u + 7u, base, q);
    }
  }
  if (STATISTICS) {
    let area = params.height * params.rowQuads;
    let count = flatCount(group.x, area, params.rowQuads, params.width);
    let tile = Tile(plane, block * 8u, group.x, count, true);
    let low = mat4x4<f32>(sums[0], sums[1], sums[2], sums[3]);
    let high = mat4x4<f32>(sums[4], sums[5], sums[6], sums[7]);
    keepEight(local, 64u, tile, low, high, validOf(q, params.width, exists));
  }
}
