// Kernels of cuda.cu, over contiguous matrices.
#pragma once
#include "../../core/cuda/backend.h"
#include "op.h"

namespace md::linear {

/// out = grad · act'(saved), elementwise.
MD_CUDA_FUNCTION void activationGradCuda(Context& context, Activation activation, const Tensor& saved, const Tensor& grad, const Tensor& out, const char* op);

}  // namespace md::linear
