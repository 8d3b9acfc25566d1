/**
 * target[head][voxel] = bias[head] + Σ weights[head][channel] · source[channel][voxel], in float32: sixteen voxels at a
 * time, whose channels stay in the cache for all heads.
 */
export function linearMap(
  source: usize, weights: usize, bias: usize, voxels: i32, channels: i32, heads: i32, target: usize,
): void {
  const row = <usize>voxels << 2;
  const end = <usize>(voxels & ~15) << 2;
  for (let at: usize = 0; at < end; at += 64) {
    let factor = weights;
    for (let head = 0; head < heads; head++) {
      let a = f32x4.splat(load<f32>(bias + (<usize>head << 2)));
      let b = a;
      let c = a;
      let d = a;
      let from = source + at;
      for (let channel = 0; channel < channels; channel++, factor += 4, from += row) {
        const k = f32x4.splat(load<f32>(factor));
        a = f32x4.add(a, f32x4.mul(k, v128.load(from)));
        b = f32x4.add(b, f32x4.mul(k, v128.load(from, 16)));
        c = f32x4.add(c, f32x4.mul(k, v128.load(from, 32)));
        d = f32x4.add(d, f32x4.mul(k, v128.load(from, 48)));
      }
      const to = target + <usize>head * row + at;
      v128.store(to, a);
      v128.store(to, b, 16);
      v128.store(to, c, 32);
      v128.store(to, d, 48);
    }
  }
  for (let at = end; at < row; at += 4) {
    let factor = weights;
    for (let head = 0; head < heads; head++) {
      let sum = load<f32>(bias + (<usize>head << 2));
      for (let channel = 0; channel < channels; channel++, factor += 4)
        sum += load<f32>(factor) * load<f32>(source + <usize>channel * row + at);
      store<f32>(target + <usize>head * row + at, sum);
    }
  }
}
