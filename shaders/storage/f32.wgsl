// Volumes in float32: a quad of four voxels is 16 bytes.
alias Quad = vec4<f32>;

fn toFloat(quad: Quad) -> vec4<f32> { return quad; }
fn toQuad(value: vec4<f32>) -> Quad { return value; }
// The value that is read back.
fn asStored(value: vec4<f32>) -> vec4<f32> { return value; }
