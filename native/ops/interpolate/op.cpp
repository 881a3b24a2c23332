#include "op.h"

#include <vector>

#include "cuda.h"
#include "shared.h"

namespace md::interpolate {
namespace {

constexpr int64_t kGrain = 1 << 13;

struct AxisTaps {
  std::vector<int64_t> low, high;
  std::vector<double> weight;
  Taps view() const { return {low.data(), high.data(), weight.data()}; }
};

AxisTaps tapsOf(int64_t extent, int64_t out, bool alignCorners) {
  AxisTaps taps;
  for (int64_t i = 0; i < out; i++) {
    const Tap tap = tapOf(i, extent, out, alignCorners);
    taps.low.push_back(tap.low);
    taps.high.push_back(tap.high);
    taps.weight.push_back(tap.weight);
  }
  return taps;
}

void requireExtents(std::initializer_list<int64_t> extents, const char* op) {
  for (int64_t extent : extents) {
    if (extent < 1 || extent > INT32_MAX) fail(ErrorKind::shape, op, "found an extent of ", extent, ", expected at least one pixel");
  }
}

}  // namespace

Tensor bilinear(Context& context, const Tensor& input, int64_t outHeight, int64_t outWidth, bool alignCorners, const char* op) {
  requireFloat(input, op, "x");
  requireRank(input, 4, op, "x");
  const int64_t height = input.shape[2], width = input.shape[3];
  requireExtents({height, width, outHeight, outWidth}, op);
  const Tensor x = contiguous(context, input, op);
  Tensor y = empty(context, x.dtype, Dims{x.shape[0], x.shape[1], outHeight, outWidth}, op);
  if (context.onCuda()) {
    bilinearCuda(context, x, y, alignCorners, op);
    return y;
  }
  const AxisTaps tapsY = tapsOf(height, outHeight, alignCorners), tapsX = tapsOf(width, outWidth, alignCorners);
  const Plane plane{x.dtype, height, width, outHeight, outWidth, tapsY.view(), tapsX.view()};
  parallelFor(context.pool, x.shape[0] * x.shape[1], 1 + kGrain / (outHeight * outWidth), [&](int64_t begin, int64_t end) {
    MD_CALL(bilinearPlanes)(plane, begin, end, x.raw(), y.raw());
  });
  return y;
}

Tensor bilinearGrad(Context& context, const Tensor& gradient, int64_t height, int64_t width, bool alignCorners, const char* op) {
  requireFloat(gradient, op, "grad");
  requireRank(gradient, 4, op, "grad");
  const int64_t outHeight = gradient.shape[2], outWidth = gradient.shape[3];
  requireExtents({height, width, outHeight, outWidth}, op);
  const Tensor grad = contiguous(context, gradient, op);
  Tensor dx = empty(context, grad.dtype, Dims{grad.shape[0], grad.shape[1], height, width}, op);
  if (context.onCuda()) {
    bilinearGradCuda(context, grad, dx, alignCorners, op);
    return dx;
  }
  const AxisTaps tapsY = tapsOf(height, outHeight, alignCorners), tapsX = tapsOf(width, outWidth, alignCorners);
  const Plane plane{grad.dtype, height, width, outHeight, outWidth, tapsY.view(), tapsX.view()};
  parallelFor(context.pool, grad.shape[0] * grad.shape[1], 1 + kGrain / (outHeight * outWidth), [&](int64_t begin, int64_t end) {
    MD_CALL(bilinearGradPlanes)(plane, begin, end, grad.raw(), dx.raw());
  });
  return dx;
}

}  // namespace md::interpolate
