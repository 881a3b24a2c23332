#include "cuda.h"

#include "../../core/cuda/reduce.h"

namespace md::cross_entropy {
namespace {

using namespace md::cuda;

constexpr int kRowWarps = kThreads / kWarp;

/// A warp for an item.
template <class T>
__global__ void lossKernel(int64_t items, int64_t classes, T on, T off, bool smooth, const T* __restrict__ logits, const int64_t* __restrict__ target,
                           T* __restrict__ losses, T* __restrict__ normalizers) {
  const int64_t item = static_cast<int64_t>(blockIdx.x) * kRowWarps + threadIdx.x / kWarp;
  if (item >= items) return;
  const T* x = logits + item * classes;
  T top = x[0];
  for (int64_t i = threadIdx.x % kWarp; i < classes; i += kWarp) top = Larger()(top, x[i]);
  top = warpReduce(top, Larger());
  T exponentials = 0, sum = 0;
  for (int64_t i = threadIdx.x % kWarp; i < classes; i += kWarp) {
    exponentials += std::exp(x[i] - top);
    sum += x[i] - top;
  }
  const T total = warpReduce(exponentials, Add()), shift = std::log(total);
  sum = warpReduce(sum, Add());
  if (threadIdx.x % kWarp != 0) return;
  // Without smoothing the other logits do not enter: they may be -infinity.
  T value = on > 0 ? on * (shift - (x[target[item]] - top)) : T(0);
  if (smooth) value += off * (static_cast<T>(classes) * shift - sum);
  losses[item] = value;
  normalizers[2 * item] = top;
  normalizers[2 * item + 1] = total;
}

template <class T>
__global__ void lossGradKernel(int64_t n, int64_t classes, T on, T off, const T* __restrict__ logits, const int64_t* __restrict__ target,
                               const T* __restrict__ normalizers, const T* __restrict__ grad, int64_t gradStep, T scale, T* __restrict__ out) {
  gridStride(n, [&](int64_t i) {
    const int64_t item = i / classes;
    const T g = grad[item * gradStep] * scale;
    out[i] = g * (std::exp(logits[i] - normalizers[2 * item]) / normalizers[2 * item + 1] - off) - (i % classes == target[item] ? g * on : T(0));
  });
}

template <class T>
struct Smoothing {
  T on, off;
  Smoothing(double smoothing, int64_t classes) : on(static_cast<T>(1 - smoothing)), off(static_cast<T>(smoothing / static_cast<double>(classes))) {}
};

}  // namespace

void lossCuda(Context& context, double smoothing, const Tensor& logits, const Tensor& target, const Tensor& losses, const Tensor& normalizers, const char* op) {
  const int64_t items = target.numel(), classes = logits.dim(-1);
  if (items == 0) return;
  dispatchFloat(logits.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Smoothing<T> s(smoothing, classes);
    launch(context, op, lossKernel<T>, static_cast<unsigned>((items + kRowWarps - 1) / kRowWarps), kThreads, items, classes, s.on, s.off, smoothing > 0,
           logits.data<T>(), target.data<int64_t>(), losses.data<T>(), normalizers.data<T>());
  });
}

void lossGradCuda(Context& context, double smoothing, const Tensor& logits, const Tensor& target, const Tensor& normalizers, const Tensor& grad,
                  int64_t gradStep, double scale, const Tensor& out, const char* op) {
  const int64_t n = out.numel(), classes = logits.dim(-1);
  if (n == 0) return;
  dispatchFloat(logits.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Smoothing<T> s(smoothing, classes);
    launch(context, op, lossGradKernel<T>, blocksFor(n), kThreads, n, classes, s.on, s.off, logits.data<T>(), target.data<int64_t>(),
           normalizers.data<T>(), grad.data<T>(), gradStep, static_cast<T>(scale), out.data<T>());
  });
}

}  // namespace md::cross_entropy
