// Every second label along the axes of stride 2, from the first: the truth at a coarser resolution. Assigns target.
// One thread: a word of four labels.
// include "common/labels.wgsl"

// Strides along x, y and z: 1 or 2.
const STRIDE_X: u32 = 2u;
const STRIDE_Y: u32 = 2u;
const STRIDE_Z: u32 = 2u;

struct Params {
  depth: u32, height: u32, rowQuads: u32,                         // source
  widthOut: u32, depthOut: u32, heightOut: u32, rowQuadsOut: u32, // target
  plane0: u32, startSource: u32, startTarget: u32,
}

@group(0) @binding(0) var<storage, read> source: array<u32>;
@group(0) @binding(1) var<storage, read_write> target_: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let q = id.x % params.rowQuadsOut;
  let y = id.x / params.rowQuadsOut;
  if (y >= params.heightOut) { return; }
  let plane = params.plane0 + group.z;
  let planeIn = plane / params.depthOut * params.depth + STRIDE_Z * (plane % params.depthOut);
  let line = (planeIn * params.height + STRIDE_Y * y) * params.rowQuads - params.startSource;
  let a = labelsOf(source[line + STRIDE_X * q]);
  let b = labelsOf(source[line + min(STRIDE_X * q + 1u, params.rowQuads - 1u)]);
  let along = select(vec4<u32>(a.x, a.z, b.x, b.z), a, STRIDE_X == 1u);
  let x = vec4<u32>(4u * q) + vec4<u32>(0u, 1u, 2u, 3u);
  let out = select(vec4<u32>(255u), along, x < vec4<u32>(params.widthOut));
  target_[(plane * params.heightOut + y) * params.rowQuadsOut + q - params.startTarget] =
    out.x | (out.y << 8u) | (out.z << 16u) | (out.w << 24u);
}
