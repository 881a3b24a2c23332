#include "../../isa/math.h"
#include "../../isa/run.h"
#include "op.h"

namespace md::cross_entropy::MD_ISA {
namespace {

using md::MD_ISA::expOf;
using md::MD_ISA::maxOf;
using md::MD_ISA::sumOf;

constexpr int64_t kBlock = 256;

// Sum of exp(x - top), block by block so that the exponentials vectorise.
template <class T>
T sumExp(const T* x, T top, int64_t n) {
  T e[kBlock], total = 0;
  for (int64_t from = 0; from < n; from += kBlock) {
    const int64_t count = n - from < kBlock ? n - from : kBlock;
    for (int64_t i = 0; i < count; i++) e[i] = expOf(x[from + i] - top);
    total += sumOf(e, count);
  }
  return total;
}

}  // namespace

void lossRange(DType dtype, int64_t classes, double smoothing, int64_t begin, int64_t end, const void* logits, const int64_t* target, void* loss, void* logSumExp) {
  dispatchFloat(dtype, "crossEntropy", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T on = static_cast<T>(1 - smoothing), off = static_cast<T>(smoothing / static_cast<double>(classes));
    for (int64_t item = begin; item < end; item++) {
      const T* x = static_cast<const T*>(logits) + item * classes;
      const T top = maxOf(x, classes);
      const T shift = std::log(sumExp(x, top, classes));
      // Without smoothing the other logits do not enter: they may be -infinity.
      T value = on * (shift - (x[target[item]] - top));
      if (smoothing > 0) value += off * (static_cast<T>(classes) * (shift + top) - sumOf(x, classes));
      static_cast<T*>(loss)[item] = value;
      static_cast<T*>(logSumExp)[item] = top + shift;
    }
  });
}

void lossGradRange(DType dtype, int64_t classes, double smoothing, int64_t begin, int64_t end, const void* logits, const int64_t* target,
                   const void* logSumExp, const void* grad, int64_t gradStep, double scale, void* output) {
  dispatchFloat(dtype, "crossEntropyGrad", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T on = static_cast<T>(1 - smoothing), off = static_cast<T>(smoothing / static_cast<double>(classes));
    for (int64_t item = begin; item < end; item++) {
      const T* __restrict x = static_cast<const T*>(logits) + item * classes;
      T* __restrict out = static_cast<T*>(output) + item * classes;
      const T g = static_cast<const T*>(grad)[item * gradStep] * static_cast<T>(scale);
      const T shift = static_cast<const T*>(logSumExp)[item];
      for (int64_t i = 0; i < classes; i++) out[i] = g * (expOf(x[i] - shift) - off);
      out[target[item]] -= g * on;
    }
  });
}

}  // namespace md::cross_entropy::MD_ISA
