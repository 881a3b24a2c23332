// Local kernel query (Mini-Diffuser, Eq. 18): out[q] = sum over offsets k of W[k] · mean[voxel at offset k of q]. Empty
// neighbours are never multiplied: the hits (query, voxel) are grouped by offset, and each group is one gathered GEMM.
// No gradient reaches the query positions: they choose voxels, which is piecewise constant.
#pragma once
#include "../../core/context.h"
#include "../../isa/isa.h"

namespace md::local_kernel_query {

/// The H occupied neighbours of a query set, by offset and then by query.
struct HitMap {
  Tensor queries;  // i32 [H]
  Tensor voxels;   // i32 [H]
  Tensor offsets;  // i32 [K + 1]: the hits of offset k are offsets[k] … offsets[k + 1]
};

/// neighbours [Q, K] i32 with -1 for an empty one. ValueError for an index outside -1 … voxels-1.
HitMap mapHits(Context& context, const Tensor& neighbours, int64_t voxels, const char* op);

/// means [V, in], weight [K, out, in] -> [queries, out]; a query without hits gives 0. Each row is summed in the order
/// of offsets, whatever the other queries are and however many threads run.
Tensor query(Context& context, const HitMap& hits, int64_t queries, const Tensor& means, const Tensor& weight, const char* op);

/// grad [Q, out] -> the gradient of means [V, in]: zero for a voxel that no query touches.
Tensor queryMeansGrad(Context& context, const HitMap& hits, int64_t voxels, const Tensor& weight, const Tensor& grad, const char* op);

/// The gradient of weight [K, out, in]: zero for an offset without hits.
Tensor queryWeightGrad(Context& context, const HitMap& hits, const Tensor& means, const Tensor& grad, const char* op);

// Kernels of cpu.cpp.

/// Hits read from row `from[h]` of a source and add to row `to[h]` of a target.
struct Pairs {
  const int32_t* from;
  const int32_t* to;
  const int32_t* offsets;
  int64_t kernels;
};

/// Counts hits by offset among query rows [begin, end); false where an index is out of range.
MD_KERNEL(bool, countHits, const int32_t* neighbours, int64_t kernels, int64_t voxels, int64_t begin, int64_t end, int32_t* counts)
/// Writes the hits of query rows [begin, end) from next[k] on.
MD_KERNEL(void, emitHits, const int32_t* neighbours, int64_t kernels, int64_t begin, int64_t end, int32_t* next, int32_t* queries, int32_t* voxels)

/// Elements of one packed [depth, columns] matrix.
MD_KERNEL(int64_t, packedSize, DType dtype, int64_t depth, int64_t columns)
/// Packs matrix [depth, columns] with the given element strides into column panels, zero beyond the last column.
MD_KERNEL(void, packPanels, DType dtype, const void* matrix, int64_t depth, int64_t columns, int64_t depthStride, int64_t columnStride, void* packed)
/// target[to] += source[from] · packed[k] for the hits whose target row is `part` modulo `parts`, in their order.
MD_KERNEL(void, accumulateHits, DType dtype, const Pairs& pairs, const void* source, const void* packed, int64_t depth, int64_t columns,
          int64_t part, int64_t parts, void* target)
/// Rows [begin, end) of every offset's weight gradient: sum over hits of grad[to][row] · means[from].
MD_KERNEL(void, weightGradRows, DType dtype, const Pairs& pairs, const void* means, const void* grad, int64_t in, int64_t out,
          int64_t begin, int64_t end, void* weightGrad)

}  // namespace md::local_kernel_query
