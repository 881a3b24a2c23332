#include "cuda.h"

#include "../../core/cuda/activations.h"
#include "../../core/cuda/launch.h"

namespace md::linear {
namespace {

using namespace md::cuda;

template <class T>
__device__ T derivativeOf(T x, Activation activation) {
  switch (activation) {
    case Activation::relu: return x > T(0) ? T(1) : T(0);
    case Activation::gelu: return geluGradOf(x);
    case Activation::geluTanh: return geluTanhGradOf(x);
    case Activation::silu: return siluGradOf(x);
    default: return T(1);
  }
}

template <class S>
__global__ void activationGradKernel(int64_t n, Activation activation, const S* __restrict__ saved, const S* __restrict__ grad, S* __restrict__ out) {
  using T = Computed<S>;
  gridStride(n, [&](int64_t i) { out[i] = static_cast<S>(static_cast<T>(grad[i]) * derivativeOf(static_cast<T>(saved[i]), activation)); });
}

}  // namespace

void activationGradCuda(Context& context, Activation activation, const Tensor& saved, const Tensor& grad, const Tensor& out, const char* op) {
  const int64_t n = out.numel();
  if (n == 0) return;
  dispatchStoredFloat(out.dtype, op, [&](auto tag) {
    using S = typename decltype(tag)::type;
    launch(context, op, activationGradKernel<S>, blocksFor(n), kThreads, n, activation, saved.data<S>(), grad.data<S>(), out.data<S>());
  });
}

}  // namespace md::linear
