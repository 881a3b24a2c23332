// Kernels of cuda.cu, over contiguous rows of n elements; weight and bias may be null.
#pragma once
#include "../../core/cuda/backend.h"
#include "op.h"

namespace md::layer_norm {

MD_CUDA_FUNCTION void layerNormCuda(Context& context, int64_t rows, int64_t n, double eps, const Tensor& x, const void* weight, const void* bias,
                                    const Output& out, const char* op);
MD_CUDA_FUNCTION void layerNormGradCuda(Context& context, int64_t rows, int64_t n, const Tensor& x, const void* weight, const Tensor& mean,
                                        const Tensor& rstd, const Tensor& grad, const Tensor& dx, const char* op);
/// Sums of grad · x̂ and of grad over the rows.
MD_CUDA_FUNCTION void layerNormAffineCuda(Context& context, int64_t rows, int64_t n, const Tensor& x, const Tensor& mean, const Tensor& rstd,
                                          const Tensor& grad, const Tensor& dWeight, const Tensor& dBias, const char* op);

}  // namespace md::layer_norm
