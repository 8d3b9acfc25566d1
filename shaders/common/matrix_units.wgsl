// Matrix units: products of small matrices that a whole subgroup holds, of float16 into float32. All names of this
// language extension, which is a draft, stand here. For kernels with float16 in `staged` and `operand` and float32 in
// `results`; places in them are multiples of eight.
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;

// An M×K matrix times a K×N matrix; which sizes there are, the adapter says.
const M: u32 = 8u;
const N: u32 = 8u;
const K: u32 = 8u;
const SUBGROUP: u32 = 8u; // threads of a subgroup: filled in for the device

// Numbers beyond those of float16 become its largest, or infinite where they are to overflow; infinity and NaN stay, by
// which trainings see that they go wrong.
fn toHalves(value: vec4<f32>, overflows: bool) -> vec4<f16> {
  let largest = vec4<f32>(65504.0);
  let size = bitcast<vec4<u32>>(value) & vec4<u32>(0x7fffffffu); // in the order of absolute values
  let beyond = (size > bitcast<vec4<u32>>(largest)) & (size < vec4<u32>(0x7f800000u));
  let bounded = select(clamp(value, -largest, largest), value * 3e38, overflows);
  return vec4<f16>(select(value, bounded, beyond));
}

alias Left = subgroup_matrix_left<f16, K, M>;
alias Right = subgroup_matrix_right<f16, N, K>;
alias Result = subgroup_matrix_result<f32, N, M>;

// Matrices whose rows lie `pitch` numbers apart; of operandRight, columns, as a thread then loads neighbours.
fn stagedLeft(at: u32, pitch: u32) -> Left { return subgroupMatrixLoad<Left, row_major>(&staged, at, pitch); }
fn stagedRight(at: u32, pitch: u32) -> Right { return subgroupMatrixLoad<Right, row_major>(&staged, at, pitch); }
fn operandLeft(at: u32, pitch: u32) -> Left { return subgroupMatrixLoad<Left, row_major>(&operand, at, pitch); }
fn operandRight(at: u32, pitch: u32) -> Right { return subgroupMatrixLoad<Right, col_major>(&operand, at, pitch); }

fn multiplyAdd(left: Left, right: Right, sum: Result) -> Result {
  return subgroupMatrixMultiplyAccumulate(left, right, sum);
}

// Column after column.
fn layOut(at: u32, sum: Result) { subgroupMatrixStore<col_major>(&results, at, sum, M); }
