// Joins the planes' sums into the loss and the coefficients of its gradient.
// Dice: Σ_c w_c · (1 − D_c), D_c = (2 Σ p·g + s) / (Σ p + Σ g + s), per sample and averaged, or over the
// whole batch (BATCH_DICE). Cross-entropy: weighted mean over the voxels that count.
// Gradients, not the loss, are multiplied by lossScale[0], so that float16 holds them.
// results: loss, Dice part, cross-entropy part, then D_c averaged over samples. One workgroup in all.

const CLASSES: u32 = 2u;
const BATCH_DICE: bool = false;
const NEGATIVE: bool = false; // Dice counts as −D_c instead of 1 − D_c
const ADD: bool = false; // to the loss of other outputs, in results[0] alone

struct Params { samples: u32, depth: u32, diceFactor: f32, entropyFactor: f32, smoothing: f32 }

@group(0) @binding(0) var<storage, read> partials: array<f32>;
@group(0) @binding(1) var<storage, read> classWeights: array<f32>;
@group(0) @binding(2) var<storage, read> lossScale: array<f32>;
@group(0) @binding(3) var<storage, read_write> totals: array<f32>;          // [sample][3·CLASSES + 2]
@group(0) @binding(4) var<storage, read_write> coefficients: array<vec2<f32>>; // [sample][class], then cross-entropy's
@group(0) @binding(5) var<storage, read_write> results: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32) {
  let values = 3u * CLASSES + 2u;
  for (var i = local; i < params.samples * values; i += 64u) {
    let sample = i / values;
    var sums = array<f32, 8>();
    for (var z = 0u; z < params.depth; z++) {
      sums[z % 8u] += partials[(sample * params.depth + z) * values + i % values];
    }
    totals[i] = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
  }
  storageBarrier();
  if (local > 0u) { return; }

  var groups = params.samples;
  if (BATCH_DICE) { groups = 1u; }
  var dice = 0.0;
  for (var c = 0u; c < CLASSES; c++) {
    var overlapAll = 0.0;
    var unionAll = 0.0;
    for (var sample = 0u; sample < params.samples; sample++) {
      let at = sample * values + 3u * c;
      overlapAll += totals[at];
      unionAll += totals[at + 1u] + totals[at + 2u];
    }
    var mean = 0.0;
    for (var sample = 0u; sample < params.samples; sample++) {
      let at = sample * values + 3u * c;
      var overlap = totals[at];
      var both = totals[at + 1u] + totals[at + 2u];
      if (BATCH_DICE) {
        overlap = overlapAll;
        both = unionAll;
      }
      let numerator = 2.0 * overlap + params.smoothing;
      let denominator = max(both + params.smoothing, 1e-8); // without smoothing, where no voxel is known
      let score = numerator / denominator;
      mean += score / f32(params.samples);
      // dL/dp = x·g + y
      let weight = params.diceFactor * lossScale[0] * classWeights[c] / f32(groups);
      coefficients[sample * CLASSES + c] =
        vec2<f32>(-2.0 * weight / denominator, weight * numerator / denominator / denominator);
    }
    dice += classWeights[c] * (select(1.0, 0.0, NEGATIVE) - mean);
    if (!ADD) { results[3u + c] = mean; }
  }

  var entropy = 0.0;
  var weights = 0.0;
  for (var sample = 0u; sample < params.samples; sample++) {
    entropy += totals[sample * values + 3u * CLASSES];
    weights += totals[sample * values + 3u * CLASSES + 1u];
  }
  let divisor = max(weights, 1e-20);
  coefficients[params.samples * CLASSES] = vec2<f32>(params.entropyFactor * lossScale[0] / divisor, 0.0);
  let loss = params.diceFactor * dice + params.entropyFactor * entropy / divisor;
  if (ADD) {
    results[0] += loss;
    return;
  }
  results[0] = loss;
  results[1] = dice;
  results[2] = entropy / divisor;
}
