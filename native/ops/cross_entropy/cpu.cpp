#include <cmath>
#include <limits>

#include "../../isa/math.h"
#include "../../isa/run.h"
#include "../../isa/stream.h"
#include "op.h"

namespace md::cross_entropy::MD_ISA {
namespace {

using md::MD_ISA::expOfNegative;
using md::MD_ISA::forRowsTogether;
using md::MD_ISA::kAhead;
using md::MD_ISA::kBeyond;
using md::MD_ISA::kLine;
using md::MD_ISA::kTogether;
using md::MD_ISA::mapVectors;
using md::MD_ISA::maxOf;
using md::MD_ISA::streamRows;
using md::MD_ISA::sumOf;
using md::MD_ISA::Vec;

/// Sum of e^(x - top).
template <class T>
T sumExp(const T* x, T top, int64_t n) {
  constexpr int W = Vec<T>::width;
  const Vec<T> shift = Vec<T>::set(top);
  Vec<T> sum = Vec<T>::zero(), other = sum;  // one would wait for its last addition
  int64_t i = 0;
  for (; i + 2 * W <= n; i += 2 * W) {
    __builtin_prefetch(x + i + kBeyond);
    sum = sum + expOfNegative(Vec<T>::load(x + i) - shift);
    other = other + expOfNegative(Vec<T>::load(x + i + W) - shift);
  }
  for (; i + W <= n; i += W) sum = sum + expOfNegative(Vec<T>::load(x + i) - shift);
  if (i < n) {
    T rest[W];
    for (int k = 0; k < W; k++) rest[k] = i + k < n ? x[i + k] : -std::numeric_limits<T>::infinity();
    other = other + expOfNegative(Vec<T>::load(rest) - shift);
  }
  return (sum + other).sum();
}

}  // namespace

void lossRange(DType dtype, int64_t classes, double smoothing, int64_t begin, int64_t end, const void* logits, const int64_t* target, void* loss, void* logSumExp) {
  dispatchFloat(dtype, "crossEntropy", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T on = static_cast<T>(1 - smoothing), off = static_cast<T>(smoothing / static_cast<double>(classes));
    const T* x = static_cast<const T*>(logits);
    forRowsTogether<T>(begin, end, classes, [&](int64_t first, int64_t count) {
      T top[kTogether], total[kTogether];
      for (int64_t r = 0; r < count; r++) top[r] = maxOf(x + (first + r) * classes, classes);
      for (int64_t r = 0; r < count; r++) total[r] = sumExp(x + (first + r) * classes, top[r], classes);
      for (int64_t r = 0; r < count; r++) {
        const int64_t item = first + r;
        const T* row = x + item * classes;
        const T shift = std::log(total[r]);
        // Without smoothing the other logits do not enter: they may be -infinity.
        T value = on * (shift - (row[target[item]] - top[r]));
        if (smoothing > 0) value += off * (static_cast<T>(classes) * (shift + top[r]) - sumOf(row, classes));
        static_cast<T*>(loss)[item] = value;
        static_cast<T*>(logSumExp)[item] = top[r] + shift;
      }
    });
  });
}

void lossGradRange(DType dtype, int64_t classes, double smoothing, int64_t begin, int64_t end, const void* logits, const int64_t* target,
                   const void* logSumExp, const void* grad, int64_t gradStep, double scale, void* output) {
  dispatchFloat(dtype, "crossEntropyGrad", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T on = static_cast<T>(1 - smoothing), off = static_cast<T>(smoothing / static_cast<double>(classes));
    streamRows(static_cast<T*>(output) + begin * classes, begin, end, classes, [&](int64_t first, int64_t last, T* out) {
      for (int64_t item = first; item < last; item++, out += classes) {
        const T* x = static_cast<const T*>(logits) + item * classes;
        const T g = static_cast<const T*>(grad)[item * gradStep] * static_cast<T>(scale);
        for (int64_t i = 0; i < classes; i += kLine / static_cast<int64_t>(sizeof(T))) __builtin_prefetch(x + kAhead + i);
        // The exponents are at most 0, but for rounding.
        const Vec<T> shift = Vec<T>::set(static_cast<const T*>(logSumExp)[item]), factor = Vec<T>::set(g), uniform = Vec<T>::set(off);
        mapVectors(x, out, classes, [&](Vec<T> v) __attribute__((always_inline)) { return factor * (expOfNegative(v - shift) - uniform); });
        out[target[item]] -= g * on;
      }
    });
  });
}

}  // namespace md::cross_entropy::MD_ISA
