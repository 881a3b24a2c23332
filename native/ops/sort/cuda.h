// Kernels of cuda.cu.
#pragma once
#include "../../core/cuda/backend.h"
#include "op.h"

namespace md::sort {

/// radixSort of op.h on a device.
MD_CUDA_FUNCTION void radixSortCuda(Context& context, Tensor& codes, Tensor& order, int bits, const char* op);
/// The first k in order of every row of contiguous x; split is that of x. out.values has elements.
MD_CUDA_FUNCTION void orderCuda(Context& context, const AxisSplit& split, int64_t k, bool descending, const Tensor& x, const Sorted& out, const char* op);

}  // namespace md::sort
