// Adds the partial sums of a gradient in a fixed order: four interleaved sums over the chunks,
// then a tree. partials: [chunk][out][in][k]; result: (out, inTotal, k) at input channel `first`, or, with
// an outer stride of zero-based parts, the same numbers in place. Assigns result.

struct Params { chunks: u32, length: u32, part: u32, stride: u32, offset: u32 }

@group(0) @binding(0) var<storage, read> partials: array<f32>;
@group(0) @binding(1) var<storage, read_write> result: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.y * groups.x * 64u + id.x;
  if (i >= params.length) { return; }
  var a = 0.0;
  var b = 0.0;
  var c = 0.0;
  var d = 0.0;
  var chunk = 0u;
  for (; chunk + 4u <= params.chunks; chunk += 4u) {
    let at = chunk * params.length + i;
    a += partials[at];
    b += partials[at + params.length];
    c += partials[at + 2u * params.length];
    d += partials[at + 3u * params.length];
  }
  for (; chunk < params.chunks; chunk++) { a += partials[chunk * params.length + i]; }
  let total = (a + b) + (c + d);
  result[i / params.part * params.stride + params.offset + i % params.part] = total;
}
