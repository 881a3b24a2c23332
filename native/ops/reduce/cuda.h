// Kernels of cuda.cu, over contiguous tensors.
#pragma once
#include "../../core/cuda/backend.h"
#include "op.h"

namespace md::reduce {

/// [outer, extent, inner] to [outer, inner]; `divisor` as in Pass.
MD_CUDA_FUNCTION void reduceCuda(Context& context, Reduction kind, DType dtype, const AxisSplit& split, double divisor, const void* x, void* out, const char* op);
MD_CUDA_FUNCTION void argExtremeCuda(Context& context, Extreme kind, const AxisSplit& split, const Tensor& x, const Tensor& out, const char* op);

}  // namespace md::reduce
