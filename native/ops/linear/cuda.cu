#include "cuda.h"

#include "../../core/cuda/launch.h"

namespace md::linear {
namespace {

using namespace md::cuda;

template <class S>
__global__ void activationGradKernel(int64_t n, bool relu, const S* __restrict__ saved, const S* __restrict__ grad, S* __restrict__ out) {
  using T = Computed<S>;
  gridStride(n, [&](int64_t i) {
    const T s = static_cast<T>(saved[i]);
    out[i] = static_cast<S>(static_cast<T>(grad[i]) * (relu ? T(s > T(0)) : s));
  });
}

}  // namespace

void activationGradCuda(Context& context, Activation activation, const Tensor& saved, const Tensor& grad, const Tensor& out, const char* op) {
  const int64_t n = out.numel();
  if (n == 0) return;
  dispatchStoredFloat(out.dtype, op, [&](auto tag) {
    using S = typename decltype(tag)::type;
    launch(context, op, activationGradKernel<S>, blocksFor(n), kThreads, n, activation == Activation::relu, saved.data<S>(), grad.data<S>(), out.data<S>());
  });
}

}  // namespace md::linear
