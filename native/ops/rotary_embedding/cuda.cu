#include "cuda.h"

#include <cmath>

#include "../../core/cuda/launch.h"

namespace md::rotary_embedding {
namespace {

using namespace md::cuda;

/// A thread for a pair: [tokens, 3, pairs].
template <class T>
__global__ void tableKernel(int64_t n, int64_t pairs, double scale, double base, const T* __restrict__ xyz, T* __restrict__ table) {
  gridStride(n, [&](int64_t i) {
    const double theta = scale * std::pow(base, -static_cast<double>(i % pairs) / static_cast<double>(pairs));
    const double angle = static_cast<double>(xyz[i / pairs]) * theta;
    table[2 * i] = static_cast<T>(std::cos(angle));
    table[2 * i + 1] = static_cast<T>(std::sin(angle));
  });
}

/// A thread for two channels: a pair, or what is behind the pairs.
template <class T>
__global__ void applyKernel(int64_t n, int64_t perRow, RowLoop loop, const T* __restrict__ x, const T* __restrict__ table, T* __restrict__ out, T sign) {
  gridStride(n, [&](int64_t i) {
    const int64_t pair = i % perRow;
    int64_t row = i / perRow, xAt = 0, tableAt = 0, outAt = 0;
    for (int axis = loop.rank - 1; axis >= 0; axis--) {
      const int64_t index = row % loop.extent[axis];
      row /= loop.extent[axis];
      xAt += index * loop.x[axis];
      tableAt += index * loop.table[axis];
      outAt += index * loop.out[axis];
    }
    xAt += 2 * pair;
    outAt += 2 * pair;
    if (pair < loop.pairs) {
      const T c = table[tableAt + 2 * pair], s = sign * table[tableAt + 2 * pair + 1];
      const T first = x[xAt], second = x[xAt + 1];
      out[outAt] = first * c - second * s;
      out[outAt + 1] = first * s + second * c;
      return;
    }
    out[outAt] = x[xAt];
    if (2 * pair + 1 < loop.headDim) out[outAt + 1] = x[xAt + 1];
  });
}

}  // namespace

void tableCuda(Context& context, const Tensor& xyz, int64_t pairs, double scale, double base, const Tensor& out, const char* op) {
  const int64_t n = xyz.numel() * pairs;
  if (n == 0) return;
  dispatchFloat(xyz.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, tableKernel<T>, blocksFor(n), kThreads, n, pairs, scale, base, xyz.data<T>(), out.data<T>());
  });
}

void applyCuda(Context& context, const RowLoop& loop, const Tensor& x, const Tensor& table, bool inverse, const Tensor& out, const char* op) {
  const int64_t perRow = (loop.headDim + 1) / 2, n = out.numel() / loop.headDim * perRow;
  dispatchFloat(x.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, applyKernel<T>, blocksFor(n), kThreads, n, perRow, loop, x.data<T>(), table.data<T>(), out.data<T>(), static_cast<T>(inverse ? -1 : 1));
  });
}

}  // namespace md::rotary_embedding
