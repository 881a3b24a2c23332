// Layer normalisation over the last axes (Ba et al., 2016), with the scale and shift of a condition where there is one
// (Perez et al., "FiLM", 2018), and its gradients: x and the gradient are read once.
#pragma once
#include "../../core/context.h"
#include "../../isa/isa.h"

namespace md::layer_norm {

/// ((x - mean) · rstd · weight + bias) · (1 + scale) + shift over the last `axes` >= 1 axes of x. weight and bias have the
/// shape of those axes or are null. scale and shift have some of x's leading axes before them, the first ones, and serve all
/// rows of the others: x [B, T, d] takes [B, T, d], [B, d] or [d]. Both are null, or none; gradients do not read shift.
struct Operands {
  const Tensor& x;
  const Tensor* weight;
  const Tensor* bias;
  const Tensor* scale;
  const Tensor* shift;
  int axes;
};

struct Output {
  Tensor y;
  Tensor mean;  // [rows], rows = product of the leading extents
  Tensor rstd;  // [rows], 1 / sqrt(variance + eps)
};

/// eps > 0.
Output layerNorm(Context& context, const Operands& operands, double eps, const char* op);

struct Gradients {
  Tensor x;
  Tensor weight, bias;  // of the normalised shape; empty unless asked for
  Tensor scale, shift;  // like scale; empty without one, and shift where it would be `grad`: where every row has its own
};

/// `affine`: also the gradients of weight and bias. Sums over rows run in blocks of 128 rows and in f64 across them. `earlier`, of
/// x's shape or null, is added to the gradient of x.
Gradients layerNormGrad(Context& context, const Operands& operands, const Tensor& mean, const Tensor& rstd, const Tensor& grad, const Tensor* earlier,
                        bool affine, const char* op);

constexpr int64_t kBlockRows = 128;

/// Rows whose gradients are summed together: `each` blocks of `blockRows` rows, the last of them shorter, in every stretch of
/// rows. Several blocks in a stretch are those of one scale and shift.
struct Blocks {
  int64_t rows, stretch, each, blockRows, count;
};

// Kernels of cpu.cpp, over rows of n elements.

/// Row r takes scale + r / rowsEach · scaleStride, and shift alike. Null for none; then weight and bias are there.
struct Modulation {
  const void* scale = nullptr;
  const void* shift = nullptr;
  int64_t scaleStride = 0, shiftStride = 0, rowsEach = 1;
};
MD_KERNEL(void, layerNormRows, DType dtype, int64_t n, double eps, int64_t begin, int64_t end, const void* x, const void* weight,
          const void* bias, const Modulation& modulation, void* y, void* mean, void* rstd)

/// Where the gradients of scales and shifts go, `stride` elements apart: one for each, or for each block where one has several.
/// `shift` is null where every row has its own.
struct ModulationSums {
  void* scale = nullptr;
  void* shift = nullptr;
  int64_t stride = 0;
};
/// Blocks [begin, end); `partial` [blocks, 2, n] (sums of h · x̂ and h, where h is the gradient times 1 + scale) or null, as is
/// `earlier`.
MD_KERNEL(void, layerNormGradBlocks, DType dtype, const Blocks& blocks, int64_t n, int64_t begin, int64_t end, const void* x, const void* weight,
          const void* bias, const Modulation& modulation, const void* mean, const void* rstd, const void* grad, const void* earlier, void* dx, void* partial,
          const ModulationSums& sums)
/// Columns [begin, end): the sums over `blocks` of `partial`, the first to `a` and the second to `b`.
MD_KERNEL(void, layerNormCombine, DType dtype, int64_t blocks, int64_t n, int64_t begin, int64_t end, const void* partial, void* a, void* b)

}  // namespace md::layer_norm
