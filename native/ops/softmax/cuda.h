// Kernels of cuda.cu, over contiguous tensors with elements.
#pragma once
#include "../../core/cuda/backend.h"
#include "op.h"

namespace md::softmax {

MD_CUDA_FUNCTION void softmaxCuda(Context& context, const AxisSplit& split, bool log, const Tensor& x, const Tensor& out, const char* op);
MD_CUDA_FUNCTION void softmaxGradCuda(Context& context, const AxisSplit& split, bool log, const Tensor& y, const Tensor& grad, const Tensor& out, const char* op);

}  // namespace md::softmax
