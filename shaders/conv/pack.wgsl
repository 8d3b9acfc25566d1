// Packs a convolution's weights (out, in, taps) as [out block][in][taps][8], zeros beyond the last
// channel; only output channels [first, first + count) are taken. TRANSPOSE packs them for the gradient with
// respect to the input: the channels' roles exchanged, the taps flipped, and only that range of input channels taken.
// One thread: the taps between two channels; a workgroup: eight inner channels of one block.

const TRANSPOSE: bool = false;
const TAPS: u32 = 27u;

struct Params { outChannels: u32, inChannels: u32, first: u32, count: u32 }

@group(0) @binding(0) var<storage, read> source: array<f32>;
@group(0) @binding(1) var<storage, read_write> packed: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let lane = local % 8u;
  let own = group.y * 8u + lane;
  let channel = group.x * 8u + local / 8u;
  var inner = params.inChannels;
  var start = ((params.first + own) * params.inChannels + channel) * TAPS;
  if (TRANSPOSE) {
    inner = params.outChannels;
    start = (channel * params.inChannels + params.first + own) * TAPS;
  }
  if (channel >= inner) { return; }
  let to = (group.y * inner + channel) * (8u * TAPS) + lane;
  for (var tap = 0u; tap < TAPS; tap++) {
    var value = 0.0;
    if (own < params.count) { value = source[start + select(tap, TAPS - 1u - tap, TRANSPOSE)]; }
    packed[to + 8u * tap] = value;
  }
}
