#include <cmath>

#include "../../isa/stream.h"
#include "op.h"

namespace md::optimizer::MD_ISA {

void adamwRange(DType dtype, int64_t n, const AdamWFactors& f, void* parameter, const void* gradient, void* expAvg, void* expAvgSq) {
  dispatchFloat(dtype, "adamwStep", [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* __restrict p = static_cast<T*>(parameter);
    const T* __restrict g = static_cast<const T*>(gradient);
    T* __restrict m = static_cast<T*>(expAvg);
    T* __restrict v = static_cast<T*>(expAvgSq);
    const T scale = static_cast<T>(f.gradScale), decay = static_cast<T>(f.decay), beta1 = static_cast<T>(f.beta1), beta2 = static_cast<T>(f.beta2);
    const T rest1 = static_cast<T>(1 - f.beta1), rest2 = static_cast<T>(1 - f.beta2);
    const T stepSize = static_cast<T>(f.stepSize), root = static_cast<T>(f.inverseRootCorrection2), eps = static_cast<T>(f.eps);
    for (int64_t i = 0; i < n; i++) {
      const T grad = scale * g[i];
      m[i] = beta1 * m[i] + rest1 * grad;
      v[i] = beta2 * v[i] + rest2 * (grad * grad);
      p[i] = decay * p[i] - stepSize * (m[i] / (std::sqrt(v[i]) * root + eps));
    }
  });
}

double squaresRange(DType dtype, int64_t n, const void* values) {
  return dispatchFloat(dtype, "globalNorm", [&](auto tag) {
    const auto* x = static_cast<const typename decltype(tag)::type*>(values);
    constexpr int kLanes = 16;
    double lanes[kLanes] = {};
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
      for (int k = 0; k < kLanes; k += md::MD_ISA::kLine / static_cast<int>(sizeof *x)) __builtin_prefetch(x + i + md::MD_ISA::kAhead + k);
      for (int k = 0; k < kLanes; k++) lanes[k] += static_cast<double>(x[i + k]) * static_cast<double>(x[i + k]);
    }
    double total = 0;
    for (; i < n; i++) total += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    for (double lane : lanes) total += lane;
    return total;
  });
}

void emaRange(DType dtype, int64_t n, double decay, void* averages, const void* values) {
  dispatchFloat(dtype, "emaUpdate", [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* __restrict average = static_cast<T*>(averages);
    const T* __restrict x = static_cast<const T*>(values);
    const T keep = static_cast<T>(decay), rest = static_cast<T>(1 - decay);
    for (int64_t i = 0; i < n; i++) average[i] = keep * average[i] + rest * x[i];
  });
}

}  // namespace md::optimizer::MD_ISA
