// A column of a row, as the taps along x of a 3×3×3 convolution see it.

// A quad with what lies left and right of it.
struct Column { left: f32, here: vec4<f32>, right: f32 }

fn alongX(sum: vec4<f32>, column: Column, w: vec3<f32>) -> vec4<f32> {
  return sum + vec4<f32>(column.left, column.here.xyz) * w.x + column.here * w.y
    + vec4<f32>(column.here.yzw, column.right) * w.z;
}
