// Layer normalisation over the last axes (Ba et al., 2016), and its gradients in two passes over x and the gradient.
#pragma once
#include "../../core/context.h"
#include "../../isa/isa.h"

namespace md::layer_norm {

struct Output {
  Tensor y;
  Tensor mean;  // [rows], rows = product of the leading extents
  Tensor rstd;  // [rows], 1 / sqrt(variance + eps)
};

/// Normalises the last `axes` >= 1 axes: (x - mean) · rstd · weight + bias. weight and bias have the shape of those axes
/// or are null. eps > 0.
Output layerNorm(Context& context, const Tensor& x, const Tensor* weight, const Tensor* bias, int axes, double eps, const char* op);

struct Gradients {
  Tensor x;
  Tensor weight, bias;  // of the normalised shape; empty unless asked for
};

/// `affine`: also the gradients of weight and bias, summed in blocks of 128 rows and f64 across them.
Gradients layerNormGrad(Context& context, const Tensor& x, const Tensor* weight, const Tensor& mean, const Tensor& rstd, const Tensor& grad,
                        int axes, bool affine, const char* op);

// Kernels of cpu.cpp, over rows of n elements.
constexpr int64_t kBlockRows = 128;
MD_KERNEL(void, layerNormRows, DType dtype, int64_t n, double eps, int64_t begin, int64_t end, const void* x, const void* weight,
          const void* bias, void* y, void* mean, void* rstd)
/// Blocks [begin, end) of kBlockRows rows; `partial` [blocks, 2, n] (sums of grad · x̂ and grad) or null.
MD_KERNEL(void, layerNormGradBlocks, DType dtype, int64_t rows, int64_t n, int64_t begin, int64_t end, const void* x, const void* weight,
          const void* mean, const void* rstd, const void* grad, void* dx, void* partial)
/// Columns [begin, end): the sum of `partial` over blocks.
MD_KERNEL(void, layerNormCombine, DType dtype, int64_t blocks, int64_t n, int64_t begin, int64_t end, const void* partial, void* dWeight, void* dBias)

}  // namespace md::layer_norm
