// Rounds a convolution's weights (out, in, taps) to float16 and lays them out for conv_matrix/forward: [out tile][chunk]
// [tap][out][in], N outputs by K inputs, zeros beyond the last of both. Assigns packed. With TRANSPOSE, input and output
// change places and the taps are flipped, for the gradient with respect to the input: the input channels
// [first, first + count) are then the outputs.
// One thread: the taps of one pair of channels.
enable f16;

const N: u32 = 8u;
const K: u32 = 8u;
const TRANSPOSE: bool = false;
const TAPS: u32 = 27u;

struct Params { outChannels: u32, inChannels: u32, first: u32, count: u32 }

@group(0) @binding(0) var<storage, read> source: array<f32>;
@group(0) @binding(1) var<storage, read_write> packed: array<f16>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  if (id.x >= K * N) { return; }
  let own = id.z * N + id.x / K;
  let inner = id.y * K + id.x % K;
  let innerCount = select(params.inChannels, params.outChannels, TRANSPOSE);
  let weighs = own < params.count && inner < innerCount;
  var start = ((params.first + own) * params.inChannels + inner) * TAPS;
  if (TRANSPOSE) { start = (inner * params.inChannels + params.first + own) * TAPS; }
  let to = (id.z * groups.y + id.y) * (TAPS * K * N) + id.x;
  for (var tap = 0u; tap < TAPS; tap++) {
    var value = 0.0;
    if (weighs) { value = source[start + select(tap, TAPS - 1u - tap, TRANSPOSE)]; }
    packed[to + tap * (K * N)] = f16(value);
  }
}
