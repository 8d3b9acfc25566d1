// A row of a convolution's input as four outputs along x see it. For kernels with `source` and, in `params`,
// `width` and `rowQuads` of the source and `slope`.

const NORM: bool = false;
// Along x, y and z: taps, 1 or 3, padded by (taps - 1) / 2; source voxels from one output to the next, 1 or 2; and,
// for the gradient of a convolution with such a stride, 2 where a zero stands between any two source voxels.
const KERNEL_X: u32 = 3u;
const KERNEL_Y: u32 = 3u;
const KERNEL_Z: u32 = 3u;
const STRIDE_X: u32 = 1u;
const STRIDE_Y: u32 = 1u;
const STRIDE_Z: u32 = 1u;
const DILATION_X: u32 = 1u;
const DILATION_Y: u32 = 1u;
const DILATION_Z: u32 = 1u;

// What each tap along x is multiplied with; of one tap, `here`. Where DILATION_X is 2, `before` and `after` are 0 for even
// outputs, and `here` for odd ones.
struct Row { before: vec4<f32>, here: vec4<f32>, after: vec4<f32> }

// Quad q of the row that begins at `row`; 0 beyond its ends.
fn quadAt(row: u32, q: u32, norm: vec2<f32>) -> vec4<f32> {
  if (q >= params.rowQuads) { return vec4<f32>(0.0); }
  var value = toFloat(source[row + q]);
  if (NORM) { value = inside(activate4(value, norm, params.slope), q, params.width); }
  return value;
}

fn rowAt(row: u32, q: u32, norm: vec2<f32>) -> Row {
  let zero = vec4<f32>(0.0);
  if (DILATION_X == 2u) {
    let odd = q % 2u == 1u;
    let quad = quadAt(row, q / 2u, norm);
    let pair = select(quad.xy, quad.zw, odd);
    let here = vec4<f32>(pair.x, 0.0, pair.y, 0.0);
    if (KERNEL_X == 1u) { return Row(zero, here, zero); }
    let next = select(quad.z, quadAt(row, q / 2u + 1u, norm).x, odd);
    return Row(vec4<f32>(0.0, here.xyz), here, vec4<f32>(0.0, pair.y, 0.0, next));
  }
  if (STRIDE_X == 2u) {
    let first = quadAt(row, 2u * q, norm);
    let second = quadAt(row, 2u * q + 1u, norm);
    let even = vec4<f32>(first.xz, second.xz);
    let odd = vec4<f32>(first.yw, second.yw);
    if (KERNEL_X == 1u) { return Row(zero, even, zero); }
    return Row(vec4<f32>(quadAt(row, 2u * q - 1u, norm).w, odd.xyz), even, odd);
  }
  let here = quadAt(row, q, norm);
  if (KERNEL_X == 1u) { return Row(zero, here, zero); }
  let before = vec4<f32>(quadAt(row, q - 1u, norm).w, here.xyz);
  return Row(before, here, vec4<f32>(here.yzw, quadAt(row, q + 1u, norm).x));
}

// The row, or plane, that a tap sees from an output at `at`; -1 outside the volume, and between dilated voxels.
fn seen(at: u32, tap: u32, kernel: u32, stride: u32, dilation: u32, length: u32) -> i32 {
  let place = at * stride + tap - kernel / 2u; // what lies before the volume wraps round to a large number
  if (place % dilation != 0u || place / dilation >= length) { return -1; }
  return i32(place / dilation);
}
