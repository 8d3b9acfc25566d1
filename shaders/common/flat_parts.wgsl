// Statistics as in parts.wgsl, for kernels whose workgroups take 64 quads of a plane that follow each other.
// include "common/eight_parts.wgsl"

var<workgroup> staged: array<vec4<f32>, 128>;

// Voxels in the first quads of a plane.
fn voxelsUpTo(quads: u32, rowQuads: u32, width: u32) -> u32 {
  return quads / rowQuads * width + min(quads % rowQuads * 4u, width);
}

// Of the quads [64 group, 64 group + 64) of a plane with so many, or none.
fn flatCount(group: u32, area: u32, rowQuads: u32, width: u32) -> f32 {
  let begin = min(64u * group, area);
  let end = min(64u * group + 64u, area);
  return f32(voxelsUpTo(end, rowQuads, width) - voxelsUpTo(begin, rowQuads, width));
}
