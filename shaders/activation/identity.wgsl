// Scale 1 and shift 0 for every sample and channel: what a volume without a norm is read through for its activation.

struct Params { length: u32 }

@group(0) @binding(0) var<storage, read_write> scaleShifts: array<vec2<f32>>;
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x < params.length) { scaleShifts[id.x] = vec2<f32>(1.0, 0.0); }
}
