// Independent multiply-adds and nothing else: the speed that a device's arithmetic allows. A round is 256 of them
// on each of three vec4.

struct Params { rounds: u32 }

@group(0) @binding(0) var<storage, read_write> values: array<vec4<f32>>;
@group(0) @binding(1) var<uniform> params: Params;

fn four(value: vec4<f32>, x: vec4<f32>, y: vec4<f32>) -> vec4<f32> {
  return (((value * x + y) * y + x) * x + y) * y + x;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let x = vec4<f32>(values[0].x);
  let y = vec4<f32>(values[0].y);
  var a = values[id.x];
  var b = a + 1.0;
  var c = a + 2.0;
  for (var round = 0u; round < params.rounds; round++) {
    for (var i = 0u; i < 16u; i++) {
      a = four(a, x, y); b = four(b, x, y); c = four(c, x, y);
      a = four(a, x, y); b = four(b, x, y); c = four(c, x, y);
      a = four(a, x, y); b = four(b, x, y); c = four(c, x, y);
      a = four(a, x, y); b = four(b, x, y); c = four(c, x, y);
    }
  }
  values[id.x] = a + b + c;
}
