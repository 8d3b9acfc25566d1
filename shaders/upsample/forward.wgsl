// Twice as many voxels along each axis by linear interpolation; outer voxels go on beyond the ends. Output 2k lies a quarter
// of a voxel before input k, output 2k + 1 a quarter behind it. Assigns target. One thread: four output voxels along x.
// include "common/volume.wgsl"

struct Params {
  width: u32, height: u32, depth: u32, rowQuads: u32, channels: u32, // source
  rowQuadsOut: u32, plane0: u32, startSource: u32, startTarget: u32,
}

@group(0) @binding(0) var<storage, read> source: array<Quad>;
@group(0) @binding(1) var<storage, read_write> target_: array<Quad>;
@group(0) @binding(2) var<uniform> params: Params;

// The other of the two voxels that an output lies between, held at the ends.
fn neighbour(at: u32, length: u32) -> u32 {
  if (at % 2u == 1u) { return min(at / 2u + 1u, length - 1u); }
  return max(at / 2u, 1u) - 1u;
}

fn voxel(row: u32, x: u32) -> f32 { return toFloat(source[row + x / 4u])[x % 4u]; }

// Four outputs along x of a row of the source.
fn alongX(row: u32, q: u32) -> vec4<f32> {
  let first = 2u * q;
  let last = params.width - 1u;
  let a = voxel(row, first);
  let b = voxel(row, min(first + 1u, last));
  let before = voxel(row, max(first, 1u) - 1u);
  let after = voxel(row, min(first + 2u, last));
  return 0.75 * vec4<f32>(a, a, b, b) + 0.25 * vec4<f32>(before, b, a, after);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let q = id.x % params.rowQuadsOut;
  let y = id.x / params.rowQuadsOut;
  if (y >= 2u * params.height) { return; }
  let plane = params.plane0 + group.z;
  let z = plane % (2u * params.depth);
  let sample = plane / (2u * params.depth);
  var value = vec4<f32>(0.0);
  for (var i = 0u; i < 4u; i++) {
    let k = select(z / 2u, neighbour(z, params.depth), i / 2u == 1u);
    let j = select(y / 2u, neighbour(y, params.height), i % 2u == 1u);
    let weight = select(0.75, 0.25, i / 2u == 1u) * select(0.75, 0.25, i % 2u == 1u);
    let row = (((sample * params.depth + k) * params.channels + group.y) * params.height + j) * params.rowQuads;
    value += weight * alongX(row - params.startSource, q);
  }
  let at = ((plane * params.channels + group.y) * 2u * params.height + y) * params.rowQuadsOut + q;
  target_[at - params.startTarget] = toQuad(inside(value, q, 2u * params.width));
}
