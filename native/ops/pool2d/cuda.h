// Kernels of cuda.cu, over contiguous planes (item, channel).
#pragma once
#include "../../core/cuda/backend.h"
#include "op.h"

namespace md::pool2d {

MD_CUDA_FUNCTION void maxCuda(Context& context, const Plane& plane, const Tensor& x, const MaxOutput& out, const char* op);
/// An index outside of its plane is a complaint.
MD_CUDA_FUNCTION void maxGradCuda(Context& context, const Plane& plane, const Tensor& grad, const Tensor& indices, const Tensor& dx, const char* op);
MD_CUDA_FUNCTION void avgCuda(Context& context, const Plane& plane, const Tensor& x, const Tensor& y, const char* op);
MD_CUDA_FUNCTION void avgGradCuda(Context& context, const Plane& plane, const Tensor& grad, const Tensor& dx, const char* op);

}  // namespace md::pool2d
