// Products of gathered rows: out[o] = sum over the pairs (i, o) of kernel offset k of W[k] · x[i], the engine of sparse
// convolutions. A neighbour that is not there is in no pair, hence never multiplied. Each output row is owned by one
// thread and summed in the order of offsets: no atomics, and the same bits for any number of threads.
#pragma once
#include "../../core/context.h"
#include "../../isa/isa.h"

namespace md::gathered_gemm {

/// Output rows whose sums stay in cache while the offsets pass over them.
constexpr int64_t kBlockRows = 128;

/// Pairs (input row, output row), by block of kBlockRows output rows, then offset, then output row, and room for H of them:
/// the last of the starts is how many there are.
struct PairMap {
  Tensor inputs;   // i32 [H]
  Tensor outputs;  // i32 [H]
  Tensor starts;   // i32 [blocks * K + 1]: offset k of block b has pairs starts[b * K + k] … starts[b * K + k + 1]
};

/// neighbours [outputs, K] i32: the input row at each offset of an output row, -1 where there is none. ValueError for an
/// index outside -1 … inputs-1. A device either waits for the number of pairs, or makes room for all neighbours there could be
/// (`roomy`) and waits for nothing; the CPU counts.
PairMap mapPairs(Context& context, const Tensor& neighbours, int64_t inputs, bool roomy, const char* op);

/// The same, roomy and waiting for nothing on the CPU either, of contiguous neighbours of our own, whose indices are right.
PairMap mapPairsLater(Context& context, const Tensor& neighbours, int64_t inputs, const char* op);

/// K matrices [columns, depth] in a contiguous tensor, by their element strides; the last or the middle one is 1.
struct Matrices {
  Tensor values;
  int64_t kernels, columns, depth;
  int64_t kernelStride, columnStride, depthStride;
  bool mirrored = false;  // offset k takes matrix K - 1 - k
};

/// x [inputs, depth] -> [outputs, columns], plus bias [columns] where there is one. `map` may come from outside: ValueError
/// for one that does not fit the rows.
Tensor multiply(Context& context, const PairMap& map, const Tensor& x, const Matrices& weight, const Tensor* bias, int64_t outputs, const char* op);

/// The gradients of that, in one region, for grad [outputs, columns]; either may be left out. Of the weight, written into
/// `ofWeight`: sum over pairs of grad[o] ⊗ x[i]. Of x, the result: by `transposed`, the matrices [depth, columns], with each pair
/// the other way round, which the map has already where they are mirrored.
Tensor multiplyGrad(Context& context, const PairMap& map, const Tensor& x, const Tensor& grad, const Matrices* transposed, const Matrices* ofWeight,
                    const char* op);

// Kernels of cpu.cpp.

struct Pairs {
  const int32_t* inputs;
  const int32_t* outputs;
  const int32_t* starts;
  int64_t kernels, inputRows, outputRows, blockRows;
};

/// Counts pairs by offset among output rows [begin, end); false where an index is out of range.
MD_KERNEL(bool, countPairs, const int32_t* neighbours, int64_t kernels, int64_t inputs, int64_t begin, int64_t end, int32_t* counts)
/// Writes the pairs of output rows [begin, end), at most kBlockRows, those of offset k from starts[k] on.
MD_KERNEL(void, emitPairs, const int32_t* neighbours, int64_t kernels, int64_t begin, int64_t end, const int32_t* starts, int32_t* inputs, int32_t* outputs)

/// `columns` rounded up to whole vectors.
MD_KERNEL(int64_t, paddedColumns, DType dtype, int64_t columns)
/// Whether all pairs stay within the inputs and their own block, as those must that the kernels below go through.
MD_KERNEL(bool, pairsHold, const Pairs& pairs, int64_t blocks)
/// Packs a [depth, columns] matrix with the given element strides into panels, zero beyond the last column.
MD_KERNEL(void, packPanels, DType dtype, const void* matrix, int64_t depth, int64_t columns, int64_t depthStride, int64_t columnStride, void* packed)

struct Product {
  DType dtype;
  Pairs pairs;
  int64_t depth, columns;
  const void* x;
  const void* packed;  // K matrices of depth * paddedColumns; multiplyColumns packs its own
  const void* bias;    // or null
  void* out;
};
/// Blocks [begin, end); `sums` holds blockRows padded rows, none where the result's own hold whole vectors.
MD_KERNEL(void, multiplyBlocks, const Product& product, int64_t begin, int64_t end, void* sums)

/// The matrices that offsets take, from the first offset's on, by element strides.
struct Panels {
  const void* first;
  int64_t kernelStride, columnStride, depthStride;
};
/// Columns [first, last) of blocks [begin, end): packs the matrices one after the other, so that a few rows meet wide ones while
/// these are near. `space` holds a packed matrix, depth rows of the columns, padded, and as `sums` above outputRows more.
MD_KERNEL(void, multiplyColumns, const Product& product, const Panels& panels, int64_t first, int64_t last, int64_t begin, int64_t end, void* space)

struct OuterProduct {
  DType dtype;
  Pairs pairs;
  int64_t depth, columns;
  int64_t kernelStride, columnStride, depthStride;
  const void* x;
  const void* grad;
  void* sums;  // [K * columns, padded depth]; null where rows of the gradient hold whole vectors, and are added to themselves
  void* weight;
};
/// Rows [begin, end) of the K * columns rows of the gradient.
MD_KERNEL(void, outerProductRows, const OuterProduct& product, int64_t begin, int64_t end)

}  // namespace md::gathered_gemm
