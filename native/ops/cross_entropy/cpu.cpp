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
using md::MD_ISA::forVectors;
using md::MD_ISA::kAhead;
using md::MD_ISA::kBeyond;
using md::MD_ISA::kTogether;
using md::MD_ISA::loadLanes;
using md::MD_ISA::loadOr;
using md::MD_ISA::maxOf;
using md::MD_ISA::putLanes;
using md::MD_ISA::streamRows;
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
  if (i < n) other = other + expOfNegative(loadOr(x + i, n - i, -std::numeric_limits<T>::infinity()) - shift);
  return (sum + other).sum();
}

/// Sum of x - top: no more is rounded where all of them are large.
template <class T>
T sumBelow(const T* x, T top, int64_t n) {
  const Vec<T> shift = Vec<T>::set(top);
  Vec<T> sum = Vec<T>::zero();
  for (int64_t i = 0; i < n; i += Vec<T>::width) sum = sum + (loadOr(x + i, n - i, top) - shift);
  return sum.sum();
}

// Takes `part` from one lane.
template <class T>
void lessen(Vec<T>& x, int64_t lane, T part) {
  T lanes[Vec<T>::width];
  x.store(lanes);
  lanes[lane] -= part;
  x = Vec<T>::load(lanes);
}

}  // namespace

void lossRange(DType dtype, int64_t classes, double smoothing, int64_t begin, int64_t end, const void* logits, const int64_t* target, void* loss, void* normalizers) {
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
        T value = on > 0 ? on * (shift - (row[target[item]] - top[r])) : T(0);
        if (smoothing > 0) value += off * (static_cast<T>(classes) * shift - sumBelow(row, top[r], classes));
        static_cast<T*>(loss)[item] = value;
        static_cast<T*>(normalizers)[2 * item] = top[r];
        static_cast<T*>(normalizers)[2 * item + 1] = total[r];
      }
    });
  });
}

void lossGradRange(DType dtype, int64_t classes, double smoothing, int64_t begin, int64_t end, const void* logits, const int64_t* target,
                   const void* normalizers, const void* grad, int64_t gradStep, double scale, void* output) {
  dispatchFloat(dtype, "crossEntropyGrad", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T on = static_cast<T>(1 - smoothing), off = static_cast<T>(smoothing / static_cast<double>(classes));
    streamRows(static_cast<T*>(output) + begin * classes, begin, end, classes, [&](int64_t first, int64_t last, T* out, auto past) {
      for (int64_t item = first; item < last; item++, out += classes) {
        const T* x = static_cast<const T*>(logits) + item * classes;
        const T g = static_cast<const T*>(grad)[item * gradStep] * static_cast<T>(scale);
        const T* const normalizer = static_cast<const T*>(normalizers) + 2 * item;
        const Vec<T> top = Vec<T>::set(normalizer[0]), factor = Vec<T>::set(g / normalizer[1]), uniform = Vec<T>::set(g * off);
        const int64_t hit = target[item];
        forVectors<T>(classes, [&](int64_t i, int lanes) __attribute__((always_inline)) {
          __builtin_prefetch(x + i + kAhead);
          Vec<T> y = factor * expOfNegative(loadLanes(x + i, lanes) - top) - uniform;
          if (i <= hit && hit < i + lanes) lessen(y, hit - i, g * on);
          putLanes<past>(y, out + i, lanes);
        });
      }
    });
  });
}

}  // namespace md::cross_entropy::MD_ISA
