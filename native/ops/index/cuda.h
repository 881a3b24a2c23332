// Kernels of cuda.cu, over contiguous tensors. Sums are taken in the order of the index, without atomics.
#pragma once
#include "../../core/cuda/backend.h"
#include "op.h"

namespace md::index {

/// A copy of contiguous i64 indices that are in [0, limit), limit > 0; others become 0, and whoever waits next throws.
MD_CUDA_FUNCTION Tensor checkedIndexCuda(Context& context, const Tensor& index, int64_t limit, const char* op);
MD_CUDA_FUNCTION void selectCuda(Context& context, const AxisSplit& split, const Tensor& x, const Tensor& index, const Tensor& out, const char* op);
/// out[…, index[i], …] += source[…, i, …]; split is that of out.
MD_CUDA_FUNCTION void addCuda(Context& context, const AxisSplit& split, const Tensor& index, const Tensor& source, const Tensor& out, const char* op);
/// `loop` over the whole index.
MD_CUDA_FUNCTION void gatherCuda(Context& context, const IndexLoop& loop, const Tensor& x, const Tensor& index, const Tensor& out, const char* op);
/// `axis` is the indexed one.
MD_CUDA_FUNCTION void scatterAddCuda(Context& context, const IndexLoop& loop, int axis, const Tensor& index, const Tensor& source, const Tensor& out, const char* op);
MD_CUDA_FUNCTION void oneHotCuda(Context& context, const Tensor& index, int64_t classes, const Tensor& out, const char* op);

}  // namespace md::index
