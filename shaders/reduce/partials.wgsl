// Adds the partial sums of a gradient in a fixed order: four interleaved sums over the chunks, then a
// tree. partials: [chunk][row][part]; a row's numbers go to result[row · stride + offset …]. Assigns result.
// One thread: four numbers of a row, a workgroup's width apart.

struct Params { chunks: u32, length: u32, part: u32, stride: u32, offset: u32 }

@group(0) @binding(0) var<storage, read> partials: array<f32>;
@group(0) @binding(1) var<storage, read_write> result: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let first = group.x * 256u + local;
  for (var own = first; own < min(params.part, first + 256u); own += 64u) {
    let i = group.y * params.part + own;
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
    result[group.y * params.stride + params.offset + own] = (a + b) + (c + d);
  }
}
