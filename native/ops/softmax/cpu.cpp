#include "../../isa/math.h"
#include "../../isa/run.h"
#include "../../isa/stream.h"
#include "../../isa/vectors.h"
#include "op.h"

namespace md::softmax::MD_ISA {
namespace {

using md::MD_ISA::dotOf;
using md::MD_ISA::expOf;
using md::MD_ISA::expOfNegative;
using md::MD_ISA::forRowsTogether;
using md::MD_ISA::forVectors;
using md::MD_ISA::kAhead;
using md::MD_ISA::kBeyond;
using md::MD_ISA::kPiece;
using md::MD_ISA::kTogether;
using md::MD_ISA::loadLanes;
using md::MD_ISA::mapVectors;
using md::MD_ISA::maxOf;
using md::MD_ISA::putLanes;
using md::MD_ISA::storeLanes;
using md::MD_ISA::streamRows;
using md::MD_ISA::sumOf;
using md::MD_ISA::Vec;

/// out = e^(x - top); their sum.
template <class T>
T powersOf(const T* x, T* out, int64_t n, T top) {
  const Vec<T> shift = Vec<T>::set(top);
  Vec<T> sum = Vec<T>::zero();
  forVectors<T>(n, [&](int64_t i, int lanes) __attribute__((always_inline)) {
    __builtin_prefetch(x + i + kBeyond);
    storeLanes(expOfNegative(loadLanes(x + i, lanes) - shift), out + i, lanes);
    sum = sum + loadLanes(out + i, lanes);  // zero beyond the lanes
  });
  return sum.sum();
}

// `powers` has room for the rows' elements, and may be `out`.
template <class T, bool Past>
void rows(const T* x, T* powers, T* out, int64_t count, int64_t n, bool logarithm) {
  T top[kTogether], total[kTogether];
  for (int64_t r = 0; r < count; r++) top[r] = maxOf(x + r * n, n);
  for (int64_t r = 0; r < count; r++) total[r] = powersOf(x + r * n, powers + r * n, n, top[r]);
  for (int64_t r = 0; r < count; r++) {
    if (logarithm) {
      const Vec<T> shift = Vec<T>::set(top[r]), log = Vec<T>::set(std::log(total[r]));
      mapVectors<Past>(x + r * n, out + r * n, n, [&](Vec<T> v) __attribute__((always_inline)) { return (v - shift) - log; });
    } else {
      const Vec<T> scale = Vec<T>::set(T(1) / total[r]);
      mapVectors<Past>(powers + r * n, out + r * n, n, [&](Vec<T> v) __attribute__((always_inline)) { return v * scale; });
    }
  }
}

template <class T, bool Past>
void gradRow(const T* y, const T* g, T* out, int64_t n, bool log) {
  const Vec<T> total = Vec<T>::set(log ? sumOf(g, n) : dotOf(y, g, n));
  forVectors<T>(n, [&](int64_t i, int lanes) __attribute__((always_inline)) {
    __builtin_prefetch(y + i + kAhead);
    __builtin_prefetch(g + i + kAhead);
    const Vec<T> v = loadLanes(y + i, lanes), grad = loadLanes(g + i, lanes);
    putLanes<Past>(log ? grad - expOf(v) * total : v * (grad - total), out + i, lanes);
  });
}

// `columns` <= kTile softmaxes side by side, `step` elements from one element of a softmax to the next.
template <class T>
void tile(const T* __restrict x, T* __restrict out, int64_t n, int64_t step, int64_t columns, bool log) {
  T top[kTile], total[kTile];
  for (int64_t j = 0; j < columns; j++) top[j] = x[j];
  for (int64_t i = 1; i < n; i++)
    for (int64_t j = 0; j < columns; j++) {
      const T v = x[i * step + j];
      top[j] = (top[j] > v) | (top[j] != top[j]) ? top[j] : v;
    }
  for (int64_t j = 0; j < columns; j++) total[j] = 0;
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < columns; j++) {
      const T e = expOf(x[i * step + j] - top[j]);
      out[i * step + j] = e;
      total[j] += e;
    }
  if (log) {
    for (int64_t j = 0; j < columns; j++) total[j] = std::log(total[j]);
    for (int64_t i = 0; i < n; i++)
      for (int64_t j = 0; j < columns; j++) out[i * step + j] = (x[i * step + j] - top[j]) - total[j];
  } else {
    for (int64_t j = 0; j < columns; j++) total[j] = T(1) / total[j];
    for (int64_t i = 0; i < n; i++)
      for (int64_t j = 0; j < columns; j++) out[i * step + j] *= total[j];
  }
}

template <class T>
void gradTile(const T* __restrict y, const T* __restrict g, T* __restrict out, int64_t n, int64_t step, int64_t columns, bool log) {
  T total[kTile];
  for (int64_t j = 0; j < columns; j++) total[j] = 0;
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < columns; j++) {
      const int64_t at = i * step + j;
      total[j] += log ? g[at] : g[at] * y[at];
    }
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < columns; j++) {
      const int64_t at = i * step + j;
      out[at] = log ? g[at] - expOf(y[at]) * total[j] : y[at] * (g[at] - total[j]);
    }
}

// f(offset of the first element, columns) for each unit.
template <class F>
void overUnits(const AxisSplit& split, int64_t begin, int64_t end, F&& f) {
  const int64_t tiles = (split.inner + kTile - 1) / kTile;
  for (int64_t unit = begin; unit < end; unit++) {
    const int64_t first = unit % tiles * kTile;
    const int64_t columns = split.inner - first < kTile ? split.inner - first : kTile;
    f(unit / tiles * split.extent * split.inner + first, columns);
  }
}

}  // namespace

void softmaxUnits(DType dtype, const AxisSplit& s, bool log, int64_t begin, int64_t end, const void* input, void* output) {
  dispatchFloat(dtype, "softmax", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* x = static_cast<const T*>(input);
    T* out = static_cast<T*>(output);
    if (s.inner == 1) {
      const auto run = [&](int64_t first, int64_t last, T* to, auto past) {
        T piece[past ? kPiece<T> : 1];
        forRowsTogether<T>(first, last, s.extent, [&](int64_t r, int64_t count) {
          T* const y = to + (r - first) * s.extent;
          rows<T, past>(x + r * s.extent, past ? piece : y, y, count, s.extent, log);
        });
      };
      // The powers of a wider row would have no room beside the output.
      if (s.extent > kPiece<T>) return run(begin, end, out + begin * s.extent, std::false_type{});
      streamRows(out + begin * s.extent, begin, end, s.extent, run);
    } else {
      overUnits(s, begin, end, [&](int64_t at, int64_t columns) { tile(x + at, out + at, s.extent, s.inner, columns, log); });
    }
  });
}

void softmaxGradUnits(DType dtype, const AxisSplit& s, bool log, int64_t begin, int64_t end, const void* output, const void* grad, void* dx) {
  dispatchFloat(dtype, "softmaxGrad", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* y = static_cast<const T*>(output);
    const T* g = static_cast<const T*>(grad);
    T* out = static_cast<T*>(dx);
    if (s.inner == 1) {
      streamRows(out + begin * s.extent, begin, end, s.extent, [&](int64_t first, int64_t last, T* to, auto past) {
        for (int64_t r = first; r < last; r++, to += s.extent) gradRow<T, past>(y + r * s.extent, g + r * s.extent, to, s.extent, log);
      });
    } else {
      overUnits(s, begin, end, [&](int64_t at, int64_t columns) { gradTile(y + at, g + at, out + at, s.extent, s.inner, columns, log); });
    }
  });
}

}  // namespace md::softmax::MD_ISA
