// Kernels of cuda.cu, over contiguous tensors [batch, channels, height, width].
#pragma once
#include "../../core/cuda/backend.h"
#include "op.h"

namespace md::interpolate {

MD_CUDA_FUNCTION void bilinearCuda(Context& context, const Tensor& x, const Tensor& y, bool alignCorners, const char* op);
MD_CUDA_FUNCTION void bilinearGradCuda(Context& context, const Tensor& grad, const Tensor& dx, bool alignCorners, const char* op);

}  // namespace md::interpolate
