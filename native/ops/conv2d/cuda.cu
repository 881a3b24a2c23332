#include "cuda.h"

#include <algorithm>

#include "../../core/cuda/launch.h"
#include "../matmul/op.h"

namespace md::conv2d {
namespace {

using namespace md::cuda;

constexpr int64_t kColumnElements = 1 << 26;  // of the buffer for columns, unless one item needs more

/// columns [items, patch, positions] = the pixel under that row of the patch, 0 in the padding. Items lie `step` apart.
template <class T>
__global__ void imageToColumns(int64_t n, Conv c, int64_t step, const T* __restrict__ x, T* __restrict__ columns) {
  const int64_t positions = c.positions(), patch = c.patch();
  gridStride(n, [&](int64_t i) {
    const int64_t position = i % positions, row = i / positions % patch, item = i / positions / patch;
    const int64_t kx = row % c.kernelX, ky = row / c.kernelX % c.kernelY, channel = row / (c.kernelX * c.kernelY);
    const int64_t y = position / c.outWidth * c.options.strideY + ky * c.options.dilationY - c.options.paddingY;
    const int64_t at = position % c.outWidth * c.options.strideX + kx * c.options.dilationX - c.options.paddingX;
    const bool inside = y >= 0 && y < c.height && at >= 0 && at < c.width;
    columns[i] = inside ? x[item * step + (channel * c.height + y) * c.width + at] : T(0);
  });
}

/// The output position of a pixel under offset k of the kernel along one axis, or -1.
__device__ int64_t outputOf(int64_t pixel, int64_t k, int64_t stride, int64_t padding, int64_t dilation, int64_t extent) {
  const int64_t from = pixel + padding - k * dilation;
  return from >= 0 && from % stride == 0 && from / stride < extent ? from / stride : -1;
}

/// The adjoint: each pixel gathers what it was copied to.
template <class T>
__global__ void columnsToImage(int64_t n, Conv c, int64_t step, const T* __restrict__ columns, T* __restrict__ dx) {
  const int64_t positions = c.positions(), pixels = c.height * c.width;
  gridStride(n, [&](int64_t i) {
    const int64_t x = i % c.width, y = i / c.width % c.height, channel = i / pixels % c.in, item = i / pixels / c.in;
    const T* from = columns + (item * c.in + channel) * c.kernelY * c.kernelX * positions;
    T sum = 0;
    for (int64_t ky = 0; ky < c.kernelY; ky++) {
      const int64_t outY = outputOf(y, ky, c.options.strideY, c.options.paddingY, c.options.dilationY, c.outHeight);
      if (outY < 0) continue;
      for (int64_t kx = 0; kx < c.kernelX; kx++) {
        const int64_t outX = outputOf(x, kx, c.options.strideX, c.options.paddingX, c.options.dilationX, c.outWidth);
        if (outX >= 0) sum += from[(ky * c.kernelX + kx) * positions + outY * c.outWidth + outX];
      }
    }
    dx[item * step + i % (c.in * pixels)] = sum;
  });
}

/// sums [n] += the sum of partial [items, n] over the items, in their order.
template <class T>
__global__ void addItems(int64_t n, int64_t items, const T* __restrict__ partial, T* __restrict__ sums) {
  gridStride(n, [&](int64_t i) {
    T sum = sums[i];
    for (int64_t item = 0; item < items; item++) sum += partial[item * n + i];
    sums[i] = sum;
  });
}

/// Steps from an item to the next in elements, and the columns of one.
struct Steps {
  int64_t input, output, columns;
  explicit Steps(const Conv& c)
      : input(c.options.groups * c.in * c.height * c.width), output(c.options.groups * c.out * c.positions()), columns(c.patch() * c.positions()) {}
};

/// f(first item, items, group, columns) in parts whose columns fit into one buffer.
template <class F>
void overParts(Context& context, const Conv& c, const char* op, F f) {
  const Steps steps(c);
  const int64_t most = std::clamp<int64_t>(kColumnElements / std::max<int64_t>(steps.columns, 1), 1, std::max<int64_t>(c.batch, 1));
  const Tensor columns = empty(context, c.dtype, {most, steps.columns}, op);
  for (int64_t first = 0; first < c.batch; first += most) {
    for (int64_t group = 0; group < c.options.groups; group++) f(first, std::min(most, c.batch - first), group, columns);
  }
}

template <class T>
void fillColumns(Context& context, const Conv& c, const T* image, int64_t items, const Tensor& columns, const char* op) {
  const Steps steps(c);
  const int64_t n = items * steps.columns;
  if (n > 0) launch(context, op, imageToColumns<T>, blocksFor(n), kThreads, n, c, steps.input, image, columns.data<T>());
}

}  // namespace

void outputCuda(Context& context, const Conv& c, const Tensor& x, const Tensor& weight, const void* bias, const Tensor& y, const char* op) {
  const Steps steps(c);
  dispatchFloat(c.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    overParts(context, c, op, [&](int64_t first, int64_t items, int64_t group, const Tensor& columns) {
      fillColumns(context, c, x.data<T>() + first * steps.input + group * c.in * c.height * c.width, items, columns, op);
      matmul::GemmArgs g;
      g.dtype = c.dtype;
      g.m = c.out, g.n = c.positions(), g.k = c.patch();
      g.a = weight.data<T>() + group * c.out * c.patch(), g.aRow = c.patch();
      g.b = columns.raw(), g.bRow = c.positions();
      g.c = y.data<T>() + first * steps.output + group * c.out * c.positions(), g.cRow = c.positions();
      g.bias = bias ? static_cast<const T*>(bias) + group * c.out : nullptr, g.biasRow = 1, g.biasCol = 0;
      matmul::gemm(context, g, {{items}, {0}, {steps.columns}, {steps.output}}, op);
    });
  });
}

void inputGradCuda(Context& context, const Conv& c, const Tensor& grad, const Tensor& weight, const Tensor& dx, const char* op) {
  const Steps steps(c);
  dispatchFloat(c.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    overParts(context, c, op, [&](int64_t first, int64_t items, int64_t group, const Tensor& columns) {
      matmul::GemmArgs g;
      g.dtype = c.dtype;
      g.m = c.patch(), g.n = c.positions(), g.k = c.out;
      g.a = weight.data<T>() + group * c.out * c.patch(), g.aRow = 1, g.aCol = c.patch();
      g.b = grad.data<T>() + first * steps.output + group * c.out * c.positions(), g.bRow = c.positions();
      g.c = columns.raw(), g.cRow = c.positions();
      matmul::gemm(context, g, {{items}, {0}, {steps.output}, {steps.columns}}, op);
      const int64_t n = items * c.in * c.height * c.width;
      if (n == 0) return;
      launch(context, op, columnsToImage<T>, blocksFor(n), kThreads, n, c, steps.input, columns.data<T>(),
             dx.data<T>() + first * steps.input + group * c.in * c.height * c.width);
    });
  });
}

void weightGradCuda(Context& context, const Conv& c, const Tensor& grad, const Tensor& x, const Tensor& dWeight, const char* op) {
  const Steps steps(c);
  const int64_t size = c.out * c.patch();
  clear(context, dWeight, op);
  if (size == 0) return;
  dispatchFloat(c.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    overParts(context, c, op, [&](int64_t first, int64_t items, int64_t group, const Tensor& columns) {
      fillColumns(context, c, x.data<T>() + first * steps.input + group * c.in * c.height * c.width, items, columns, op);
      const Tensor partial = empty(context, c.dtype, {items, size}, op);
      matmul::GemmArgs g;
      g.dtype = c.dtype;
      g.m = c.out, g.n = c.patch(), g.k = c.positions();
      g.a = grad.data<T>() + first * steps.output + group * c.out * c.positions(), g.aRow = c.positions();
      g.b = columns.raw(), g.bRow = 1, g.bCol = c.positions();
      g.c = partial.raw(), g.cRow = c.patch();
      matmul::gemm(context, g, {{items}, {steps.output}, {steps.columns}, {size}}, op);
      launch(context, op, addItems<T>, blocksFor(size), kThreads, size, items, partial.data<T>(), dWeight.data<T>() + group * size);
    });
  });
}

}  // namespace md::conv2d
