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

template <class T>
__global__ void activationGradKernel(int64_t n, Activation activation, const T* __restrict__ saved, const T* __restrict__ grad, T* __restrict__ out) {
  gridStride(n, [&](int64_t i) { out[i] = grad[i] * derivativeOf(saved[i], activation); });
}

}  // namespace

void activationGradCuda(Context& context, Activation activation, const Tensor& saved, const Tensor& grad, const Tensor& out, const char* op) {
  const int64_t n = out.numel();
  if (n == 0) return;
  dispatchFloat(out.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(context, op, activationGradKernel<T>, blocksFor(n), kThreads, n, activation, saved.data<T>(), grad.data<T>(), out.data<T>());
  });
}

}  // namespace md::linear
