// Kernels of cuda.cu.
#pragma once
#include "../../core/cuda/backend.h"
#include "op.h"

namespace md::sort {

/// Each of `rows` rows of `codes` (i64 [rows, n], read as unsigned, no bit above the lowest `bits` set) ascending, and
/// `order` (i32, the same shape) along with it, stably. Both tensors may be exchanged for others.
MD_CUDA_FUNCTION void radixSortCuda(Context& context, int64_t rows, int64_t n, Tensor& codes, Tensor& order, int bits, const char* op);
/// The first k in order of every row of contiguous x; split is that of x. out.values has elements.
MD_CUDA_FUNCTION void orderCuda(Context& context, const AxisSplit& split, int64_t k, bool descending, const Tensor& x, const Sorted& out, const char* op);

}  // namespace md::sort
