// Kernels of cuda.cu, over contiguous tensors; weight and bias may be null.
#pragma once
#include "../../core/cuda/backend.h"
#include "op.h"

namespace md::group_norm {

MD_CUDA_FUNCTION void groupNormCuda(Context& context, const Layout& layout, double eps, const Tensor& x, const void* weight, const void* bias,
                                    const Output& out, const char* op);
MD_CUDA_FUNCTION void groupNormGradCuda(Context& context, const Layout& layout, const Tensor& x, const void* weight, const Tensor& mean,
                                        const Tensor& rstd, const Tensor& grad, const Tensor& dx, const char* op);
/// Sums of grad · x̂ and of grad over items and space, [channels] each.
MD_CUDA_FUNCTION void groupNormAffineCuda(Context& context, const Layout& layout, const Tensor& x, const Tensor& mean, const Tensor& rstd,
                                          const Tensor& grad, const Tensor& dWeight, const Tensor& dBias, const char* op);

}  // namespace md::group_norm
