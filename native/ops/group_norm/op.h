// Group normalisation (Wu and He, 2018) of [batch, channels, ...], and its gradients.
#pragma once
#include "../../core/context.h"
#include "../../isa/isa.h"

namespace md::group_norm {

struct Output {
  Tensor y;
  Tensor mean;  // [batch, groups]
  Tensor rstd;  // [batch, groups], 1 / sqrt(variance + eps)
};

/// Normalises each group of channels / groups channels of each item; weight and bias are [channels] or null. eps > 0.
Output groupNorm(Context& context, const Tensor& x, const Tensor* weight, const Tensor* bias, int64_t groups, double eps, const char* op);

struct Gradients {
  Tensor x;
  Tensor weight, bias;  // [channels]; empty unless asked for
};

/// `affine`: also the gradients of weight and bias.
Gradients groupNormGrad(Context& context, const Tensor& x, const Tensor* weight, const Tensor& mean, const Tensor& rstd, const Tensor& grad,
                        int64_t groups, bool affine, const char* op);

// Kernels of cpu.cpp. A unit is one group of one item.
struct Layout {
  int64_t batch, channels, groups, spatial;  // spatial: product of the extents after the channels
};
MD_KERNEL(void, groupNormUnits, DType dtype, const Layout& layout, double eps, int64_t begin, int64_t end, const void* x, const void* weight,
          const void* bias, void* y, void* mean, void* rstd)
/// `partial` [batch, 2, channels]: sums of grad · x̂ and of grad over space.
MD_KERNEL(void, groupNormGradUnits, DType dtype, const Layout& layout, int64_t begin, int64_t end, const void* x, const void* weight,
          const void* mean, const void* rstd, const void* grad, void* dx, void* partial)

}  // namespace md::group_norm
