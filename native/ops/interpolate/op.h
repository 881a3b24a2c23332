// Bilinear resizing of images, and its gradient.
#pragma once
#include "../../core/context.h"
#include "../../isa/isa.h"

namespace md::interpolate {

/// x [batch, channels, height, width] to [batch, channels, outHeight, outWidth]. Source coordinates are
/// (i + 1/2) · extent / outExtent - 1/2, not below 0; with `alignCorners` i · (extent - 1) / (outExtent - 1).
Tensor bilinear(Context& context, const Tensor& x, int64_t outHeight, int64_t outWidth, bool alignCorners, const char* op);

/// Gradient of x [batch, channels, height, width].
Tensor bilinearGrad(Context& context, const Tensor& grad, int64_t height, int64_t width, bool alignCorners, const char* op);

// Kernels of cpu.cpp: planes (item, channel) [begin, end).

/// Along one axis: output i mixes inputs low[i] and high[i] as (1 - weight[i]) and weight[i].
struct Taps {
  const int64_t* low;
  const int64_t* high;
  const double* weight;
};
struct Plane {
  DType dtype;
  int64_t height, width, outHeight, outWidth;
  Taps y, x;
};
MD_KERNEL(void, bilinearPlanes, const Plane& plane, int64_t begin, int64_t end, const void* x, void* y)
MD_KERNEL(void, bilinearGradPlanes, const Plane& plane, int64_t begin, int64_t end, const void* grad, void* dx)

}  // namespace md::interpolate
