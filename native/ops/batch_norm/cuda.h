// Kernels of cuda.cu, over contiguous tensors; weight and bias may be null.
#pragma once
#include "../../core/cuda/backend.h"
#include "op.h"

namespace md::batch_norm {

/// Mean and biased variance of each channel, of at least one element each.
MD_CUDA_FUNCTION void statisticsCuda(Context& context, const Layout& layout, const Tensor& x, const Tensor& mean, const Tensor& variance, const char* op);
MD_CUDA_FUNCTION void normalizeCuda(Context& context, const Layout& layout, double eps, const Tensor& x, const Tensor& mean, const Tensor& variance,
                                    const void* weight, const void* bias, const Tensor& y, const char* op);
/// `sums` [2, channels]: sums of grad · x̂ and of grad.
MD_CUDA_FUNCTION void gradSumsCuda(Context& context, const Layout& layout, double eps, const Tensor& x, const Tensor& mean, const Tensor& variance,
                                   const Tensor& grad, const Tensor& sums, const char* op);
/// `sums` null: mean and variance are no functions of x.
MD_CUDA_FUNCTION void gradCuda(Context& context, const Layout& layout, double eps, const Tensor& x, const Tensor& mean, const Tensor& variance,
                               const void* weight, const Tensor& grad, const void* sums, const Tensor& dx, const char* op);

}  // namespace md::batch_norm
