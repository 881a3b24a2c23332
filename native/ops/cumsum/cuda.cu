#include "cuda.h"

#include "../../core/cuda/warp.h"

namespace md::cumsum {
namespace {

using namespace md::cuda;

constexpr int64_t kRowWarps = kThreads / kWarp;

/// inner = 1: a warp for a row.
template <class T, class Sum>
__global__ void sumRows(AxisSplit split, bool reverse, const T* __restrict__ x, T* __restrict__ out) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kRowWarps + threadIdx.x / kWarp;
  if (row >= split.outer) return;
  Sum before = 0;
  for (int64_t begin = 0; begin < split.extent; begin += kWarp) {
    const int64_t i = begin + threadIdx.x % kWarp, at = row * split.extent + (reverse ? split.extent - 1 - i : i);
    const Sum sum = before + warpInclusive(i < split.extent ? static_cast<Sum>(x[at]) : Sum(0));
    if (i < split.extent) out[at] = static_cast<T>(sum);
    before = __shfl_sync(~0u, sum, kWarp - 1);
  }
}

/// inner > 1: a thread for a line.
template <class T, class Sum>
__global__ void sumLines(AxisSplit split, bool reverse, const T* __restrict__ x, T* __restrict__ out) {
  gridStride(split.outer * split.inner, [&](int64_t line) {
    const int64_t first = line / split.inner * split.extent * split.inner + line % split.inner;
    Sum sum = 0;
    for (int64_t i = 0; i < split.extent; i++) {
      const int64_t at = first + (reverse ? split.extent - 1 - i : i) * split.inner;
      sum += static_cast<Sum>(x[at]);
      out[at] = static_cast<T>(sum);
    }
  });
}

template <class T, class Sum>
void run(Context& context, const AxisSplit& split, bool reverse, const Tensor& x, const Tensor& out, const char* op) {
  const T* from = static_cast<const T*>(x.raw());
  T* to = static_cast<T*>(out.raw());
  if (split.inner == 1) {
    const auto blocks = static_cast<unsigned>((split.outer + kRowWarps - 1) / kRowWarps);
    return launch(context, op, sumRows<T, Sum>, blocks, kThreads, split, reverse, from, to);
  }
  launch(context, op, sumLines<T, Sum>, blocksFor(split.outer * split.inner), kThreads, split, reverse, from, to);
}

}  // namespace

void cumsumCuda(Context& context, const AxisSplit& split, bool reverse, const Tensor& x, const Tensor& out, const char* op) {
  if (x.numel() == 0) return;
  if (x.dtype == DType::f32) return run<float, double>(context, split, reverse, x, out, op);
  if (x.dtype == DType::f64) return run<double, double>(context, split, reverse, x, out, op);
  // Unsigned, so that an overflow wraps.
  run<uint64_t, uint64_t>(context, split, reverse, x, out, op);
}

}  // namespace md::cumsum
