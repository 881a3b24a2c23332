#include "cuda.h"

#include "../../core/cuda/launch.h"
#include "shared.h"

namespace md::interpolate {
namespace {

using namespace md::cuda;

/// One axis: `extent` pixels become `out`.
struct Axis {
  int64_t extent, out;
  bool alignCorners;

  __device__ Tap tap(int64_t i) const { return tapOf(i, extent, out, alignCorners); }
  /// The first output whose lower pixel is at least `pixel`.
  __device__ int64_t firstOf(int64_t pixel) const {
    int64_t low = 0, high = out;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (tap(middle).low < pixel) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
  /// What output i takes of `pixel`.
  template <class T>
  __device__ T share(int64_t i, int64_t pixel) const {
    const Tap at = tap(i);
    const T weight = static_cast<T>(at.weight);
    return (at.low == pixel ? T(1) - weight : T(0)) + (at.high == pixel ? weight : T(0));
  }
};

template <class T>
__global__ void bilinearKernel(int64_t n, Axis y, Axis x, const T* __restrict__ in, T* __restrict__ out) {
  gridStride(n, [&](int64_t i) {
    const Tap row = y.tap(i / x.out % y.out), column = x.tap(i % x.out);
    const T* plane = in + i / (x.out * y.out) * y.extent * x.extent;
    const T *top = plane + row.low * x.extent, *bottom = plane + row.high * x.extent;
    const T wx = static_cast<T>(column.weight), wy = static_cast<T>(row.weight);
    const T above = top[column.low] + wx * (top[column.high] - top[column.low]);
    const T below = bottom[column.low] + wx * (bottom[column.high] - bottom[column.low]);
    out[i] = above + wy * (below - above);
  });
}

/// Each pixel gathers from the outputs that took it.
template <class T>
__global__ void bilinearGradKernel(int64_t n, Axis y, Axis x, const T* __restrict__ grad, T* __restrict__ dx) {
  gridStride(n, [&](int64_t i) {
    const int64_t row = i / x.extent % y.extent, column = i % x.extent;
    const T* plane = grad + i / (x.extent * y.extent) * y.out * x.out;
    const int64_t firstX = x.firstOf(column - 1), endX = x.firstOf(column + 1), endY = y.firstOf(row + 1);
    T sum = 0;
    for (int64_t outY = y.firstOf(row - 1); outY < endY; outY++) {
      T line = 0;
      for (int64_t outX = firstX; outX < endX; outX++) line += plane[outY * x.out + outX] * x.share<T>(outX, column);
      sum += line * y.share<T>(outY, row);
    }
    dx[i] = sum;
  });
}

}  // namespace

void bilinearCuda(Context& context, const Tensor& x, const Tensor& y, bool alignCorners, const char* op) {
  const int64_t n = y.numel();
  if (n == 0) return;
  const Axis rows{x.shape[2], y.shape[2], alignCorners}, columns{x.shape[3], y.shape[3], alignCorners};
  dispatchFloat(x.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, bilinearKernel<T>, blocksFor(n), kThreads, n, rows, columns, x.data<T>(), y.data<T>());
  });
}

void bilinearGradCuda(Context& context, const Tensor& grad, const Tensor& dx, bool alignCorners, const char* op) {
  const int64_t n = dx.numel();
  if (n == 0) return;
  const Axis rows{dx.shape[2], grad.shape[2], alignCorners}, columns{dx.shape[3], grad.shape[3], alignCorners};
  dispatchFloat(grad.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, bilinearGradKernel<T>, blocksFor(n), kThreads, n, rows, columns, grad.data<T>(), dx.data<T>());
  });
}

}  // namespace md::interpolate
