// Kernels of cuda.cu.
#pragma once
#include "../../core/cuda/backend.h"
#include "op.h"

namespace md::layer_norm {

/// Contiguous rows of n elements, and what they are scaled and shifted by; null for none.
struct CudaRows {
  int64_t rows, n;
  const Tensor& x;
  const void* weight;
  const void* bias;
  const Modulation& modulation;
};

MD_CUDA_FUNCTION void layerNormCuda(Context& context, const CudaRows& rows, double eps, const Output& out, const char* op);
/// Every gradient that has a storage in `out`.
MD_CUDA_FUNCTION void layerNormGradCuda(Context& context, const CudaRows& rows, const Tensor& mean, const Tensor& rstd, const Tensor& grad,
                                        const Gradients& out, const char* op);

}  // namespace md::layer_norm
