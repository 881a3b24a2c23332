#include "cuda.h"

#include "../../core/cuda/launch.h"

namespace md::pool2d {
namespace {

using namespace md::cuda;

/// Along one axis, the pixels [begin, end) inside the image under window `i`.
struct Span {
  int64_t begin, end;
  __device__ Span(int64_t i, int64_t kernel, int64_t stride, int64_t padding, int64_t extent) : begin(i * stride - padding), end(begin + kernel) {
    if (begin < 0) begin = 0;
    if (end > extent) end = extent;
  }
};

/// f(index in the plane) for each pixel under the window of output i, counted over all planes.
template <class F>
__device__ void overWindow(const Plane& p, int64_t i, F f) {
  const Span y(i / p.outWidth % p.outHeight, p.options.kernelY, p.options.strideY, p.options.paddingY, p.height);
  const Span x(i % p.outWidth, p.options.kernelX, p.options.strideX, p.options.paddingX, p.width);
  for (int64_t row = y.begin; row < y.end; row++) {
    for (int64_t column = x.begin; column < x.end; column++) f(row * p.width + column);
  }
}

template <class T>
__global__ void maxKernel(int64_t n, Plane p, const T* __restrict__ x, T* __restrict__ y, int32_t* __restrict__ indices) {
  gridStride(n, [&](int64_t i) {
    const T* from = x + i / (p.outHeight * p.outWidth) * p.height * p.width;
    int64_t chosen = -1;
    T best = 0;
    overWindow(p, i, [&](int64_t at) {
      const T value = from[at];
      if (chosen >= 0 && !(value > best || (value != value && best == best))) return;
      best = value;
      chosen = at;
    });
    y[i] = best;
    indices[i] = static_cast<int32_t>(chosen);
  });
}

/// A thread for a plane: windows overlap, and their order is kept.
template <class T>
__global__ void maxGradKernel(int64_t planes, Plane p, const T* __restrict__ grad, const int32_t* __restrict__ indices, T* __restrict__ dx,
                              Complaint* complaint, const char* op) {
  const int64_t in = p.height * p.width, out = p.outHeight * p.outWidth;
  gridStride(planes, [&](int64_t plane) {
    for (int64_t i = plane * out; i < (plane + 1) * out; i++) {
      const int32_t at = indices[i];
      if (at < 0 || at >= in) {
        complain(complaint, op, Wrong::index, i, at, in);
      } else {
        dx[plane * in + at] += grad[i];
      }
    }
  });
}

template <class T>
__global__ void avgKernel(int64_t n, Plane p, const T* __restrict__ x, T* __restrict__ y) {
  const T share = T(1) / static_cast<T>(p.options.kernelY * p.options.kernelX);
  gridStride(n, [&](int64_t i) {
    const T* from = x + i / (p.outHeight * p.outWidth) * p.height * p.width;
    T total = 0;
    overWindow(p, i, [&](int64_t at) { total += from[at]; });
    y[i] = total * share;
  });
}

/// Along one axis, the windows [begin, end) over a pixel.
struct Windows {
  int64_t begin, end;
  __device__ Windows(int64_t pixel, int64_t kernel, int64_t stride, int64_t padding, int64_t windows) {
    const int64_t first = pixel + padding - kernel + 1;
    begin = first > 0 ? (first + stride - 1) / stride : 0;
    end = (pixel + padding) / stride + 1;
    if (end > windows) end = windows;
  }
};

template <class T>
__global__ void avgGradKernel(int64_t n, Plane p, const T* __restrict__ grad, T* __restrict__ dx) {
  const T share = T(1) / static_cast<T>(p.options.kernelY * p.options.kernelX);
  gridStride(n, [&](int64_t i) {
    const Windows y(i / p.width % p.height, p.options.kernelY, p.options.strideY, p.options.paddingY, p.outHeight);
    const Windows x(i % p.width, p.options.kernelX, p.options.strideX, p.options.paddingX, p.outWidth);
    const T* from = grad + i / (p.height * p.width) * p.outHeight * p.outWidth;
    T total = 0;
    for (int64_t row = y.begin; row < y.end; row++) {
      for (int64_t column = x.begin; column < x.end; column++) total += from[row * p.outWidth + column];
    }
    dx[i] = total * share;
  });
}

}  // namespace

void maxCuda(Context& context, const Plane& plane, const Tensor& x, const MaxOutput& out, const char* op) {
  const int64_t n = out.y.numel();
  if (n == 0) return;
  dispatchFloat(x.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, maxKernel<T>, blocksFor(n), kThreads, n, plane, x.data<T>(), out.y.data<T>(), out.indices.data<int32_t>());
  });
}

void maxGradCuda(Context& context, const Plane& plane, const Tensor& grad, const Tensor& indices, const Tensor& dx, const char* op) {
  clear(context, dx, op);
  const int64_t planes = dx.shape[0] * dx.shape[1];
  if (planes == 0) return;
  dispatchFloat(grad.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, maxGradKernel<T>, blocksFor(planes, kWarp), kWarp, planes, plane, grad.data<T>(), indices.data<int32_t>(), dx.data<T>(),
           complaintOf(context), op);
  });
}

void avgCuda(Context& context, const Plane& plane, const Tensor& x, const Tensor& y, const char* op) {
  const int64_t n = y.numel();
  if (n == 0) return;
  dispatchFloat(x.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, avgKernel<T>, blocksFor(n), kThreads, n, plane, x.data<T>(), y.data<T>());
  });
}

void avgGradCuda(Context& context, const Plane& plane, const Tensor& grad, const Tensor& dx, const char* op) {
  const int64_t n = dx.numel();
  if (n == 0) return;
  dispatchFloat(grad.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, avgGradKernel<T>, blocksFor(n), kThreads, n, plane, grad.data<T>(), dx.data<T>());
  });
}

}  // namespace md::pool2d
