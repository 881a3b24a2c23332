// What the kernels share: their arguments, and the pairs that there are.
#pragma once
#include "../../core/cuda/launch.h"
#include "op.h"

namespace md::gathered_gemm {

/// Rows and columns of the weight's gradient that a thread block on matrix units has, and columns of a product.
constexpr int kFragmentColumns = 48;

inline int64_t blocksOf(const Pairs& pairs) { return (pairs.outputRows + pairs.blockRows - 1) / pairs.blockRows; }

struct Range {
  int64_t begin, end;
};
/// The pairs of a group (block, offset), within [0, count) whatever the starts are.
__device__ inline Range pairsOf(const Pairs& pairs, int64_t group, int64_t count) {
  const int64_t begin = pairs.starts[group], end = pairs.starts[group + 1];
  return {begin < 0 ? 0 : begin, end > count ? count : end};
}

/// Whether pair h joins a row of the inputs with one of the block.
__device__ inline bool validPair(const Pairs& pairs, int64_t block, int64_t h, cuda::Complaint* complaint, const char* op) {
  const int64_t input = pairs.inputs[h], output = pairs.outputs[h], first = block * pairs.blockRows;
  if (input >= 0 && input < pairs.inputRows && output >= first && output < first + pairs.blockRows && output < pairs.outputRows) return true;
  cuda::complain(complaint, op, cuda::Wrong::pair, h);
  return false;
}

/// Elements are stored as S.
template <class S>
struct MultiplyArgs {
  Pairs pairs;
  int64_t count, depth, columns;
  const S* x;
  const S* weight;
  int64_t kernelStride, columnStride, depthStride;
  bool mirrored;
  const S* bias;  // or null
  S* out;
};

template <class S>
struct OuterArgs {
  Pairs pairs;
  int64_t count, depth, columns, blocks, splits;
  const S* x;
  const S* grad;
  Computed<S>* partial;  // [splits, K, columns, depth]
};

// Kernels of cuda_fragments.cu, f16 and bf16.

template <class S>
void launchMultiplyFragments(Context& context, const MultiplyArgs<S>& args, const char* op);
template <class S>
void launchOuterFragments(Context& context, const OuterArgs<S>& args, const char* op);

}  // namespace md::gathered_gemm
