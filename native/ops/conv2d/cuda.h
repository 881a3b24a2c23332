// The passes of cuda.cu, over contiguous tensors: im2col for as many items at a time as a bounded buffer holds, and batched
// matrix products.
#pragma once
#include "../../core/cuda/backend.h"
#include "op.h"

namespace md::conv2d {

/// bias may be null.
MD_CUDA_FUNCTION void outputCuda(Context& context, const Conv& conv, const Tensor& x, const Tensor& weight, const void* bias, const Tensor& y, const char* op);
MD_CUDA_FUNCTION void inputGradCuda(Context& context, const Conv& conv, const Tensor& grad, const Tensor& weight, const Tensor& dx, const char* op);
MD_CUDA_FUNCTION void weightGradCuda(Context& context, const Conv& conv, const Tensor& grad, const Tensor& x, const Tensor& dWeight, const char* op);

}  // namespace md::conv2d
