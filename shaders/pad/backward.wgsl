// Gradient of a volume that goes on at the far ends with its last voxels: these sum up what their copies have. Assigns
// target, or with ADD accumulates into it. One thread: four voxels of the source along x.
// include "common/volume.wgsl"

const ADD: bool = false;

struct Params {
  width: u32, height: u32, depth: u32, rowQuads: u32, channels: u32, // source
  widthOut: u32, heightOut: u32, depthOut: u32, rowQuadsOut: u32,   // gradient of the padded volume
  plane0: u32, startGradient: u32, startTarget: u32,
}

@group(0) @binding(0) var<storage, read> gradient: array<Quad>;
@group(0) @binding(1) var<storage, read_write> target_: array<Quad>;
@group(0) @binding(2) var<uniform> params: Params;

// Beyond a volume's last place those up to its padded length belong to that one, else each to itself.
fn end(place: u32, length: u32, padded: u32) -> u32 { return select(place + 1u, padded, place + 1u == length); }

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
  let q = id.x % params.rowQuads;
  let y = id.x / params.rowQuads;
  if (y >= params.height) { return; }
  let plane = params.plane0 + group.z;
  let z = plane % params.depth;
  let last = params.width - 1u;
  var value = vec4<f32>(0.0);
  for (var k = z; k < end(z, params.depth, params.depthOut); k++) {
    let planeOut = plane / params.depth * params.depthOut + k;
    for (var j = y; j < end(y, params.height, params.heightOut); j++) {
      let row = ((planeOut * params.channels + group.y) * params.heightOut + j) * params.rowQuadsOut - params.startGradient;
      value += toFloat(gradient[row + q]);
      if (q == last / 4u) {
        for (var x = params.width; x < params.widthOut; x++) {
          value[last % 4u] += toFloat(gradient[row + x / 4u])[x % 4u];
        }
      }
    }
  }
  value = inside(value, q, params.width);
  let at = ((plane * params.channels + group.y) * params.height + y) * params.rowQuads + q - params.startTarget;
  if (ADD) { value += toFloat(target_[at]); }
  target_[at] = toQuad(value);
}
