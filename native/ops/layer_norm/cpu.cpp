#include <cmath>

#include "../../isa/run.h"
#include "../../isa/stream.h"
#include "../../isa/vectors.h"
#include "op.h"

namespace md::layer_norm::MD_ISA {
namespace {

using md::MD_ISA::forVectors;
using md::MD_ISA::kAhead;
using md::MD_ISA::kBeyond;
using md::MD_ISA::loadLanes;
using md::MD_ISA::loadOr;
using md::MD_ISA::putLanes;
using md::MD_ISA::storeLanes;
using md::MD_ISA::streamRows;
using md::MD_ISA::Vec;

/// How rows are scaled beyond the weight: each by a scale of its own, or several by one.
enum class Scaled { no, each, together };

/// Operands of all rows; null where a template parameter says that there are none.
template <class T>
struct Rows {
  int64_t n;
  const T* x;
  const T* weight;
  const T* bias;
  const T* scale;
  const T* shift;
  int64_t scaleStride, shiftStride, rowsEach;

  Rows(int64_t n_, const void* x_, const void* weight_, const void* bias_, const Modulation& m)
      : n(n_), x(static_cast<const T*>(x_)), weight(static_cast<const T*>(weight_)), bias(static_cast<const T*>(bias_)),
        scale(static_cast<const T*>(m.scale)), shift(static_cast<const T*>(m.shift)), scaleStride(m.scaleStride), shiftStride(m.shiftStride),
        rowsEach(m.rowsEach) {}
  const T* scaleOf(int64_t row) const { return scale + row / rowsEach * scaleStride; }
  const T* shiftOf(int64_t row) const { return shift + row / rowsEach * shiftStride; }
};

/// Rows whose statistics are taken side by side: nobody waits for one's sums, and four rows come in at once.
constexpr int kTogether = 4;
constexpr int64_t kTogetherWidth = 1024;  // elements of a row at most, for all to stay in the first-level cache

/// Sums of `Count` rows: add(sum, row, elements) for each vector; `absent` stands for the elements beyond a row's end.
template <int Count, class T, class F>
inline __attribute__((always_inline)) void sumsOf(const T* x, int64_t n, const T (&absent)[Count], T* sums, F add) {
  constexpr int W = Vec<T>::width;
  Vec<T> a[Count], b[Count];
#pragma GCC unroll 4
  for (int r = 0; r < Count; r++) a[r] = b[r] = Vec<T>::zero();
  int64_t i = 0;
  for (; i + 2 * W <= n; i += 2 * W)
    for (int r = 0; r < Count; r++) {
      a[r] = add(a[r], r, Vec<T>::load(x + r * n + i));
      b[r] = add(b[r], r, Vec<T>::load(x + r * n + i + W));
    }
  if (i + W <= n) {
    for (int r = 0; r < Count; r++) a[r] = add(a[r], r, Vec<T>::load(x + r * n + i));
    i += W;
  }
  if (i < n) {
    for (int r = 0; r < Count; r++) b[r] = add(b[r], r, loadOr(x + r * n + i, n - i, absent[r]));
  }
  for (int r = 0; r < Count; r++) sums[r] = (a[r] + b[r]).sum();
}

template <int Count, class T>
void statistics(const T* x, int64_t n, T eps, T* mean, T* rstd) {
  T middle[Count] = {};
  Vec<T> center[Count];
  sumsOf(x, n, middle, mean, [](Vec<T> sum, int, Vec<T> v) { return sum + v; });
  for (int r = 0; r < Count; r++) {
    middle[r] = mean[r] /= static_cast<T>(n);
    center[r] = Vec<T>::set(middle[r]);
  }
  sumsOf(x, n, middle, rstd, [&](Vec<T> sum, int r, Vec<T> v) {
    const Vec<T> d = v - center[r];
    return fma(d, d, sum);
  });
  for (int r = 0; r < Count; r++) rstd[r] = T(1) / std::sqrt(rstd[r] / static_cast<T>(n) + eps);
}

// y = (x - mean) · rstd, times weight where Weighted, plus bias where Biased, times 1 + scale and plus shift where Modulated.
template <class T, bool Weighted, bool Biased, bool Modulated, bool Past>
void normalizeRow(const Rows<T>& of, int64_t row, T mean, T rstd, T* y) {
  const Vec<T> center = Vec<T>::set(mean), factor = Vec<T>::set(rstd), one = Vec<T>::set(1);
  const T *const x = of.x + row * of.n, *const weight = of.weight, *const bias = of.bias;
  const T* const scale = Modulated ? of.scaleOf(row) : nullptr;
  const T* const shift = Modulated ? of.shiftOf(row) : nullptr;
  forVectors<T>(of.n, [=](int64_t i, int lanes) __attribute__((always_inline)) {
    __builtin_prefetch(x + i + kBeyond);
    Vec<T> v = (loadLanes(x + i, lanes) - center) * factor;
    if constexpr (Weighted && Biased) {
      v = fma(v, loadLanes(weight + i, lanes), loadLanes(bias + i, lanes));
    } else if constexpr (Weighted) {
      v = v * loadLanes(weight + i, lanes);
    } else if constexpr (Biased) {
      v = v + loadLanes(bias + i, lanes);
    }
    if constexpr (Modulated) v = fma(v, one + loadLanes(scale + i, lanes), loadLanes(shift + i, lanes));
    putLanes<Past>(v, y + i, lanes);
  });
}

template <class T, bool Weighted, bool Biased, bool Modulated>
void forward(const Rows<T>& of, T eps, int64_t begin, int64_t end, T* y, T* means, T* rstds) {
  const int64_t n = of.n;
  streamRows(y + begin * n, begin, end, n, [&](int64_t first, int64_t last, T* to, auto past) {
    const auto some = [&](int64_t row, auto count) {
      statistics<count>(of.x + row * n, n, eps, means + row, rstds + row);
      for (int64_t r = row; r < row + count; r++)
        normalizeRow<T, Weighted, Biased, Modulated, past>(of, r, means[r], rstds[r], to + (r - first) * n);
    };
    int64_t row = first;
    if (n <= kTogetherWidth)
      for (; row + kTogether <= last; row += kTogether) some(row, std::integral_constant<int, kTogether>{});
    for (; row < last; row++) some(row, std::integral_constant<int, 1>{});
  });
}

template <class T>
void addTo(T* total, Vec<T> x, int lanes) {
  storeLanes(loadLanes(total, lanes) + x, total, lanes);
}

/// Where rows add h · x̂ and h, n elements each; h is the gradient, times 1 + scale where that is the row's own.
template <class T>
struct Sums {
  T* product = nullptr;
  T* plain = nullptr;
  void clear(int64_t n) const {
    for (int64_t i = 0; i < n; i++) product[i] = plain[i] = 0;
  }
};

// dx of a row, plus `earlier` unless that is null; the gradient of a scale that is its own goes to `ofScale`.
template <class T, bool Weighted, bool Summed, Scaled S, bool Past>
void gradRow(const Rows<T>& of, int64_t row, T mean, T rstd, const T* g, const T* earlier, T* dx, const Sums<T>& sums, T* ofScale) {
  const int64_t n = of.n;
  const Vec<T> center = Vec<T>::set(mean), factor = Vec<T>::set(rstd), one = Vec<T>::set(1);
  const T *const x = of.x + row * n, *const weight = of.weight, *const bias = of.bias;
  const T* const scale = S == Scaled::no ? nullptr : of.scaleOf(row);
  const auto scaled = [&](Vec<T> grad, int64_t i, int lanes) __attribute__((always_inline)) {
    if constexpr (S != Scaled::no) return grad * (one + loadLanes(scale + i, lanes));
    return grad;
  };
  const auto weighted = [&](Vec<T> grad, int64_t i, int lanes) __attribute__((always_inline)) {
    if constexpr (Weighted) return grad * loadLanes(weight + i, lanes);
    return grad;
  };
  Vec<T> total = Vec<T>::zero(), totalX = total;
  forVectors<T>(n, [&](int64_t i, int lanes) __attribute__((always_inline)) {
    const Vec<T> hat = (loadLanes(x + i, lanes) - center) * factor, grad = loadLanes(g + i, lanes), h = scaled(grad, i, lanes);
    const Vec<T> wh = weighted(h, i, lanes);
    total = total + wh;
    totalX = fma(wh, hat, totalX);
    if constexpr (Summed) {
      const Vec<T> own = S == Scaled::each ? h : grad;
      storeLanes(fma(own, hat, loadLanes(sums.product + i, lanes)), sums.product + i, lanes);
      storeLanes(own + loadLanes(sums.plain + i, lanes), sums.plain + i, lanes);
    }
    if constexpr (S == Scaled::each) storeLanes(grad * fma(hat, loadLanes(weight + i, lanes), loadLanes(bias + i, lanes)), ofScale + i, lanes);
  });
  // dx = rstd (w h - a - x̂ b), a and b the means of w h and w h x̂
  const Vec<T> meanA = Vec<T>::set(total.sum() / static_cast<T>(n)), meanB = Vec<T>::set(totalX.sum() / static_cast<T>(n));
  forVectors<T>(n, [&](int64_t i, int lanes) __attribute__((always_inline)) {
    __builtin_prefetch(x + i + kAhead);
    __builtin_prefetch(g + i + kAhead);
    const Vec<T> hat = (loadLanes(x + i, lanes) - center) * factor;
    const Vec<T> wh = weighted(scaled(loadLanes(g + i, lanes), i, lanes), i, lanes);
    const Vec<T> own = (wh - meanA - hat * meanB) * factor;
    putLanes<Past>(earlier ? own + loadLanes(earlier + i, lanes) : own, dx + i, lanes);
  });
}

// From the sums over the rows of a scale to the gradients of it and of its shift, in place; `affine` gets what they add to it.
template <class T, bool Affine>
void shareSums(const Rows<T>& of, const T* scale, const Sums<T>& sums, const Sums<T>& affine) {
  for (int64_t i = 0; i < of.n; i++) {
    const T product = sums.product[i], plain = sums.plain[i];
    if constexpr (Affine) {
      affine.product[i] += (1 + scale[i]) * product;
      affine.plain[i] += (1 + scale[i]) * plain;
    }
    sums.product[i] = of.weight[i] * product + of.bias[i] * plain;
  }
}

int64_t beginOf(const Blocks& b, int64_t block) { return block / b.each * b.stretch + block % b.each * b.blockRows; }
int64_t endOf(const Blocks& b, int64_t block) { return block + 1 < b.count ? beginOf(b, block + 1) : b.rows; }

template <class T, bool Weighted, bool Affine, Scaled S>
void gradBlocks(const Rows<T>& of, const Blocks& blocks, int64_t begin, int64_t end, const T* mean, const T* rstd, const T* grad, const T* earlier,
                T* dx, T* partial, const ModulationSums& to) {
  const int64_t n = of.n, from = beginOf(blocks, begin), until = endOf(blocks, end - 1);
  int64_t block = begin;
  streamRows(dx + from * n, from, until, n, [&](int64_t first, int64_t last, T* out, auto past) {
    for (int64_t row = first; row < last; row++, out += n) {
      if (row == endOf(blocks, block)) block++;
      const bool opens = row == beginOf(blocks, block), closes = row + 1 == endOf(blocks, block);
      Sums<T> affine, own;
      if constexpr (Affine) {
        affine = {partial + block * 2 * n, partial + (block * 2 + 1) * n};
        if (opens) affine.clear(n);
      }
      if constexpr (S != Scaled::no) {
        const int64_t at = (blocks.each > 1 ? block : row / of.rowsEach) * to.stride;
        own.product = static_cast<T*>(to.scale) + at;
        if constexpr (S == Scaled::together) own.plain = static_cast<T*>(to.shift) + at;
      }
      const T* const g = grad + row * n;
      const T* const added = earlier ? earlier + row * n : nullptr;
      if constexpr (S == Scaled::together) {
        if (opens || row % of.rowsEach == 0) own.clear(n);
        gradRow<T, Weighted, true, S, past>(of, row, mean[row], rstd[row], g, added, out, own, nullptr);
        if (closes || (row + 1) % of.rowsEach == 0) shareSums<T, Affine>(of, of.scaleOf(row), own, affine);
      } else {
        gradRow<T, Weighted, Affine, S, past>(of, row, mean[row], rstd[row], g, added, out, affine, own.product);
      }
    }
  });
}

}  // namespace

void layerNormRows(DType dtype, int64_t n, double eps, int64_t begin, int64_t end, const void* x, const void* weight, const void* bias,
                   const Modulation& modulation, void* y, void* mean, void* rstd) {
  dispatchFloat(dtype, "layerNorm", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto run = modulation.scale ? forward<T, true, true, true>
                     : weight         ? (bias ? forward<T, true, true, false> : forward<T, true, false, false>)
                                      : (bias ? forward<T, false, true, false> : forward<T, false, false, false>);
    run(Rows<T>(n, x, weight, bias, modulation), static_cast<T>(eps), begin, end, static_cast<T*>(y), static_cast<T*>(mean), static_cast<T*>(rstd));
  });
}

void layerNormGradBlocks(DType dtype, const Blocks& blocks, int64_t n, int64_t begin, int64_t end, const void* x, const void* weight,
                         const void* bias, const Modulation& modulation, const void* mean, const void* rstd, const void* grad, const void* earlier,
                         void* dx, void* partial, const ModulationSums& sums) {
  dispatchFloat(dtype, "layerNormGrad", [&](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr auto no = Scaled::no, each = Scaled::each, together = Scaled::together;
    const auto run = sums.shift   ? (partial ? gradBlocks<T, true, true, together> : gradBlocks<T, true, false, together>)
                     : sums.scale ? (partial ? gradBlocks<T, true, true, each> : gradBlocks<T, true, false, each>)
                     : weight     ? (partial ? gradBlocks<T, true, true, no> : gradBlocks<T, true, false, no>)
                                  : (partial ? gradBlocks<T, false, true, no> : gradBlocks<T, false, false, no>);
    run(Rows<T>(n, x, weight, bias, modulation), blocks, begin, end, static_cast<const T*>(mean), static_cast<const T*>(rstd),
        static_cast<const T*>(grad), static_cast<const T*>(earlier), static_cast<T*>(dx), static_cast<T*>(partial), sums);
  });
}

void layerNormCombine(DType dtype, int64_t blocks, int64_t n, int64_t begin, int64_t end, const void* partial, void* a, void* b) {
  dispatchFloat(dtype, "layerNormGrad", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* in = static_cast<const T*>(partial);
    for (int64_t i = begin; i < end; i++) {
      double first = 0, second = 0;
      for (int64_t block = 0; block < blocks; block++) {
        first += static_cast<double>(in[block * 2 * n + i]);
        second += static_cast<double>(in[block * 2 * n + n + i]);
      }
      static_cast<T*>(a)[i] = static_cast<T>(first);
      static_cast<T*>(b)[i] = static_cast<T>(second);
    }
  });
}

}  // namespace md::layer_norm::MD_ISA
