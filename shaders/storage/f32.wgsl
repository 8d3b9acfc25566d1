// Volumes in float32: a quad of four voxels is 16 bytes.
alias Quad = vec4<f32>;

fn toFloat(quad: Quad) -> vec4<f32> { return quad; }
fn toQuad(value: vec4<f32>) -> Quad { return value; }
// The value that is read back.
fn asStored(value: vec4<f32>) -> vec4<f32> { return value; }
// Voxel i of a quad is in this word, read so from it: by kernels that read one alone.
fn wordOf(i: u32) -> u32 { return i; }
fn voxelOf(word: f32, i: u32) -> f32 { return word; }
