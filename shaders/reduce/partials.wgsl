// Adds the partial sums of a gradient in a fixed order: eight interleaved sums over the chunks, then
// a tree. partials: [chunk][out][in][k]; result: (out, inTotal, k) at input channel `first`, or, with
// an outer stride of zero-based parts, the same numbers in place. Assigns result.

struct Params { chunks: u32, length: u32, part: u32, stride: u32, offset: u32 }

@group(0) @binding(0) var<storage, read> partials: array<f32>;
@group(0) @binding(1) var<storage, read_write> result: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let i = id.x;
  if (i >= params.length) { return; }
  var sums = array<f32, 8>();
  for (var chunk = 0u; chunk < params.chunks; chunk++) {
    sums[chunk % 8u] += partials[chunk * params.length + i];
  }
  let total = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
  result[i / params.part * params.stride + params.offset + i % params.part] = total;
}
