#include "cuda.h"

#include "../../core/cuda/reduce.h"

namespace md::softmax {
namespace {

using namespace md::cuda;

constexpr int kRowWarps = kThreads / kWarp;

/// Where a thread's share of one softmax lies: every `step`-th element from `first` on, `stride` apart in memory. With
/// inner = 1 a warp has a softmax, else a thread has one and its neighbours have those beside it.
struct Share {
  int64_t base, first, step, stride;
  bool any;
};

__device__ Share shareOf(const AxisSplit& split) {
  if (split.inner == 1) {
    const int64_t row = static_cast<int64_t>(blockIdx.x) * kRowWarps + threadIdx.x / kWarp;
    return {row * split.extent, static_cast<int64_t>(threadIdx.x % kWarp), kWarp, 1, row < split.outer};
  }
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  return {i / split.inner * split.extent * split.inner + i % split.inner, 0, 1, split.inner, i < split.outer * split.inner};
}

template <class T, class Combine>
__device__ T over(const AxisSplit& split, T own, Combine combine) {
  return split.inner == 1 ? warpReduce(own, combine) : own;
}

template <class T>
__global__ void softmaxKernel(AxisSplit split, bool log, const T* __restrict__ x, T* __restrict__ out) {
  const Share share = shareOf(split);
  if (!share.any) return;
  const T* from = x + share.base;
  T* to = out + share.base;
  T top = from[0];
  for (int64_t i = share.first; i < split.extent; i += share.step) top = Larger()(top, from[i * share.stride]);
  top = over(split, top, Larger());
  T sum = 0;
  for (int64_t i = share.first; i < split.extent; i += share.step) sum += std::exp(from[i * share.stride] - top);
  sum = over(split, sum, Add());
  const T shift = log ? std::log(sum) : T(1) / sum;
  for (int64_t i = share.first; i < split.extent; i += share.step) {
    const T v = from[i * share.stride] - top;
    to[i * share.stride] = log ? v - shift : std::exp(v) * shift;
  }
}

template <class T>
__global__ void softmaxGradKernel(AxisSplit split, bool log, const T* __restrict__ y, const T* __restrict__ grad, T* __restrict__ out) {
  const Share share = shareOf(split);
  if (!share.any) return;
  T sum = 0;
  for (int64_t i = share.first; i < split.extent; i += share.step) {
    const int64_t at = share.base + i * share.stride;
    sum += log ? grad[at] : grad[at] * y[at];
  }
  sum = over(split, sum, Add());
  for (int64_t i = share.first; i < split.extent; i += share.step) {
    const int64_t at = share.base + i * share.stride;
    out[at] = log ? grad[at] - std::exp(y[at]) * sum : y[at] * (grad[at] - sum);
  }
}

unsigned blocksOf(const AxisSplit& split) {
  const int64_t units = split.inner == 1 ? split.outer : split.outer * split.inner, perBlock = split.inner == 1 ? kRowWarps : kThreads;
  return static_cast<unsigned>((units + perBlock - 1) / perBlock);
}

}  // namespace

void softmaxCuda(Context& context, const AxisSplit& split, bool log, const Tensor& x, const Tensor& out, const char* op) {
  dispatchFloat(x.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, softmaxKernel<T>, blocksOf(split), kThreads, split, log, x.data<T>(), out.data<T>());
  });
}

void softmaxGradCuda(Context& context, const AxisSplit& split, bool log, const Tensor& y, const Tensor& grad, const Tensor& out, const char* op) {
  dispatchFloat(y.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, softmaxGradKernel<T>, blocksOf(split), kThreads, split, log, y.data<T>(), grad.data<T>(), out.data<T>());
  });
}

}  // namespace md::softmax
