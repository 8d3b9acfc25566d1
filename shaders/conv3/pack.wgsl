// Packs weights (out, in, 27) for conv3/forward as [out block][in][27][8], zeros beyond the last
// channel. TRANSPOSE packs them for the gradient with respect to the input: the channels' roles
// exchanged, the taps flipped, and only input channels [first, first + count) taken.

const TRANSPOSE: bool = false;

struct Params { outChannels: u32, inChannels: u32, first: u32, count: u32 }

@group(0) @binding(0) var<storage, read> source: array<f32>;
@group(0) @binding(1) var<storage, read_write> packed: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.y * groups.x * 64u + id.x;
  let lane = i % 8u;
  let tap = (i / 8u) % 27u;
  var inner = params.inChannels;
  var outer = params.outChannels;
  if (TRANSPOSE) {
    inner = params.outChannels;
    outer = params.count;
  }
  let channel = (i / 216u) % inner;
  let own = i / (216u * inner) * 8u + lane;
  if (own >= (outer + 7u) / 8u * 8u) { return; }
  var value = 0.0;
  if (own < outer) {
    if (TRANSPOSE) {
      value = source[(channel * params.inChannels + params.first + own) * 27u + 26u - tap];
    } else {
      value = source[(own * params.inChannels + channel) * 27u + tap];
    }
  }
  packed[i] = value;
}
