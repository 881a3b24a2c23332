// Kernels of cuda.cu.
#pragma once
#include "../../core/cuda/backend.h"
#include "op.h"

namespace md::cumsum {

/// Contiguous x of f32, f64 or i64 into out of its dtype and shape.
MD_CUDA_FUNCTION void cumsumCuda(Context& context, const AxisSplit& split, bool reverse, const Tensor& x, const Tensor& out, const char* op);

}  // namespace md::cumsum
