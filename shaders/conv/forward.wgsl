// Convolution with 1 or 3 taps and a stride of 1 or 2 along each axis, of one input of the two that it may have.
// Norm and activation of the input are applied as it is read, and the zeros around it are those of the activated volume.
// With weights packed flipped and transposed, and the stride as a dilation, this is also the gradient with respect to
// the input. Assigns target, or with ADD accumulates into it; with STATISTICS leaves those of what it stores. One thread:
// four voxels along x, eight output channels.
// include "common/volume.wgsl"
// include "common/flat_parts.wgsl"
// include "common/conv_row.wgsl"

const BIAS: bool = false;
const ADD: bool = false;

struct Params {
  width: u32, height: u32, depth: u32, rowQuads: u32, channels: u32,                // source
  widthOut: u32, heightOut: u32, depthOut: u32, rowQuadsOut: u32, channelsOut: u32, // target
  channelsIn: u32, first: u32,                // of all inputs, and before this one
  plane0: u32,                                // first target plane of this dispatch
  startSource: u32, startTarget: u32,         // quads before each binding
  slope: f32,
  tiles: u32, startParts: u32, // of the statistics
}

@group(0) @binding(0) var<storage, read> source: array<Quad>;
@group(0) @binding(1) var<storage, read> scaleShifts: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> weights: array<vec4<f32>>; // [out block][in][taps][8]
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> target_: array<Quad>;
@group(0) @binding(5) var<storage, read_write> parts: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

fn outer(voxels: vec4<f32>, w: vec4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(voxels * w.x, voxels * w.y, voxels * w.z, voxels * w.w);
}

// Four outputs of one channel along x, from what is not 0 of a dilated row.
fn dilated(row: Row, w: vec3<f32>) -> vec4<f32> {
  return vec4<f32>(
    row.here.x * w.y, row.before.y * w.x + row.after.y * w.z,
    row.here.z * w.y, row.before.w * w.x + row.after.w * w.z);
}

fn dilatedFour(row: Row, before: vec4<f32>, here: vec4<f32>, after: vec4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(
    dilated(row, vec3<f32>(before.x, here.x, after.x)), dilated(row, vec3<f32>(before.y, here.y, after.y)),
    dilated(row, vec3<f32>(before.z, here.z, after.z)), dilated(row, vec3<f32>(before.w, here.w, after.w)));
}

// Gives back what is stored.
fn store(voxels: vec4<f32>, channel: u32, base: u32, q: u32) -> vec4<f32> {
  if (channel >= params.channelsOut) { return voxels; }
  var value = voxels;
  if (BIAS) { value += bias[channel]; }
  let at = base + channel * params.heightOut * params.rowQuadsOut;
  if (ADD) { value += toFloat(target_[at]); }
  value = inside(value, q, params.widthOut);
  target_[at] = toQuad(value);
  return asStored(value);
}

@compute @workgroup_size(64)
fn main(
  @builtin(global_invocation_id) id: vec3<u32>,
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let q = id.x % params.rowQuadsOut;
  // group.z counts planes and, within each, the places of a row between dilated ones, so that the rows of a workgroup
  // are seen by the same taps.
  let place = group.z % DILATION_Y;
  let y = id.x / params.rowQuadsOut * DILATION_Y + place;
  let exists = y < params.heightOut;
  let block = group.y;
  let plane = params.plane0 + group.z / DILATION_Y;
  let z0 = plane % params.depthOut;
  let sample = plane / params.depthOut;

  var low = mat4x4<f32>();
  var high = mat4x4<f32>();
  let channels = select(0u, params.channels, exists);
  for (var channel = 0u; channel < channels; channel++) {
    var norm = vec2<f32>(1.0, 0.0);
    if (NORM) { norm = scaleShifts[sample * params.channels + channel]; }
    let taps = (block * params.channelsIn + params.first + channel) * (KERNEL_Z * KERNEL_Y);
    // Of dilated rows and planes, every other tap sees one.
    for (var dz = (z0 + KERNEL_Z / 2u) % DILATION_Z; dz < KERNEL_Z; dz += DILATION_Z) {
      let z = seen(z0, dz, KERNEL_Z, STRIDE_Z, DILATION_Z, params.depth);
      let lines = ((sample * params.depth + u32(z)) * params.channels + channel) * params.height;
      for (var dy = (place + KERNEL_Y / 2u) % DILATION_Y; dy < KERNEL_Y; dy += DILATION_Y) {
        let line = seen(y, dy, KERNEL_Y, STRIDE_Y, DILATION_Y, params.height);
        if (z < 0 || line < 0) { continue; }
        let row = rowAt((lines + u32(line)) * params.rowQuads - params.startSource, q, norm);
        let w = (taps + dz * KERNEL_Y + dy) * (KERNEL_X * 2u);
        if (KERNEL_X == 3u && DILATION_X == 2u) {
          low += dilatedFour(row, weights[w], weights[w + 2u], weights[w + 4u]);
          high += dilatedFour(row, weights[w + 1u], weights[w + 3u], weights[w + 5u]);
        } else if (KERNEL_X == 1u) {
          low += outer(row.here, weights[w]);
          high += outer(row.here, weights[w + 1u]);
        } else {
          low += outer(row.before, weights[w]);
          high += outer(row.before, weights[w + 1u]);
          low += outer(row.here, weights[w + 2u]);
          high += outer(row.here, weights[w + 3u]);
          low += outer(row.after, weights[w + 4u]);
          high += outer(row.after, weights[w + 5u]);
        }
      }
    }
  }

  let base = (plane * params.channelsOut * params.heightOut + y) * params.rowQuadsOut + q - params.startTarget;
  if (exists) {
    low[0] = store(low[0], block * 8u, base, q);
    low[1] = store(low[1], block * 8u + 1u, base, q);
    low[2] = store(low[2], block * 8u + 2u, base, q);
    low[3] = store(low[3], block * 8u + 3u, base, q);
    high[0] = store(high[0], block * 8u + 4u, base, q);
    high[1] = store(high[1], block * 8u + 5u, base, q);
    high[2] = store(high[2], block * 8u + 6u, base, q);
    high[3] = store(high[3], block * 8u + 7u, base, q);
  }
  if (STATISTICS) {
    let rows = (params.heightOut + DILATION_Y - 1u - place) / DILATION_Y;
    let count = flatCount(group.x, rows * params.rowQuadsOut, params.rowQuadsOut, params.widthOut);
    let tile = Tile(plane, block * 8u, group.x * DILATION_Y + place, count, true);
    keepEight(local, 64u, tile, low, high, validOf(q, params.widthOut, exists));
  }
}
