// One label for each window: the truth at a coarser resolution. Assigns target. One thread: a word of four labels.
struct Params {
  depth: u32, height: u32, rowQuads: u32,                         // source
  widthOut: u32, depthOut: u32, heightOut: u32, rowQuadsOut: u32, // target
  strideX: u32, strideY: u32, strideZ: u32,                       // size of a window
  takenX: u32, takenY: u32, takenZ: u32,                          // which voxel of it
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
  let planeIn = plane / params.depthOut * params.depth + params.strideZ * (plane % params.depthOut) + params.takenZ;
  let line = (planeIn * params.height + params.strideY * y + params.takenY) * params.rowQuads - params.startSource;
  var word = 0u;
  for (var i = 0u; i < 4u; i++) {
    let x = 4u * q + i;
    var label = 255u;
    if (x < params.widthOut) {
      let xIn = params.strideX * x + params.takenX;
      label = (source[line + xIn / 4u] >> (8u * (xIn % 4u))) & 255u;
    }
    word |= label << (8u * i);
  }
  target_[(plane * params.heightOut + y) * params.rowQuadsOut + q - params.startTarget] = word;
}
