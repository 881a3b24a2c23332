#include <cmath>

#include "../../isa/run.h"
#include "../../isa/stream.h"
#include "../../isa/vectors.h"
#include "op.h"

namespace md::layer_norm::MD_ISA {
namespace {

using md::MD_ISA::forVectors;
using md::MD_ISA::kAhead;
using md::MD_ISA::loadLanes;
using md::MD_ISA::squaredDistanceOf;
using md::MD_ISA::storeLanes;
using md::MD_ISA::streamRows;
using md::MD_ISA::sumOf;
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

// y = (x - mean) · rstd, times weight where Weighted, plus bias where Biased, times 1 + scale and plus shift where Modulated.
template <class T, bool Weighted, bool Biased, bool Modulated>
void normalizeRow(const Rows<T>& of, int64_t row, T mean, T rstd, T* y) {
  const Vec<T> center = Vec<T>::set(mean), factor = Vec<T>::set(rstd), one = Vec<T>::set(1);
  const T* const x = of.x + row * of.n;
  const T* const scale = Modulated ? of.scaleOf(row) : nullptr;
  const T* const shift = Modulated ? of.shiftOf(row) : nullptr;
  forVectors<T>(of.n, [&](int64_t i, int lanes) __attribute__((always_inline)) {
    __builtin_prefetch(x + i + kAhead);
    Vec<T> v = (loadLanes(x + i, lanes) - center) * factor;
    if constexpr (Weighted) v = v * loadLanes(of.weight + i, lanes);
    if constexpr (Biased) v = v + loadLanes(of.bias + i, lanes);
    if constexpr (Modulated) v = fma(v, one + loadLanes(scale + i, lanes), loadLanes(shift + i, lanes));
    storeLanes(v, y + i, lanes);
  });
}

template <class T, bool Weighted, bool Biased, bool Modulated>
void forward(const Rows<T>& of, T eps, int64_t begin, int64_t end, T* y, T* means, T* rstds) {
  const int64_t n = of.n;
  streamRows(y + begin * n, begin, end, n, [&](int64_t first, int64_t last, T* to) {
    for (int64_t row = first; row < last; row++, to += n) {
      const T* in = of.x + row * n;
      const T mean = sumOf(in, n) / static_cast<T>(n);
      const T rstd = T(1) / std::sqrt(squaredDistanceOf(in, mean, n) / static_cast<T>(n) + eps);
      means[row] = mean;
      rstds[row] = rstd;
      normalizeRow<T, Weighted, Biased, Modulated>(of, row, mean, rstd, to);
    }
  });
}

template <class T>
void addTo(T* total, Vec<T> x, int lanes) {
  storeLanes(loadLanes(total, lanes) + x, total, lanes);
}

/// What a row adds to, n elements each: h · x̂ and h with h = g · (1 + scale), and the gradients of its scale and shift.
template <class T>
struct Sums {
  T* weight;
  T* bias;
  T* scale;
  T* shift;
};

// dx of a row, plus `earlier` unless that is null; a scale that is its own gets its gradient stored rather than added.
template <class T, bool Weighted, bool Affine, Scaled S>
void gradRow(const Rows<T>& of, int64_t row, T mean, T rstd, const T* g, const T* earlier, T* dx, const Sums<T>& sums) {
  const int64_t n = of.n;
  const Vec<T> center = Vec<T>::set(mean), factor = Vec<T>::set(rstd), one = Vec<T>::set(1);
  const T* const x = of.x + row * n;
  const T* const scale = S == Scaled::no ? nullptr : of.scaleOf(row);
  const auto scaled = [&](Vec<T> grad, int64_t i, int lanes) __attribute__((always_inline)) {
    if constexpr (S != Scaled::no) return grad * (one + loadLanes(scale + i, lanes));
    return grad;
  };
  const auto weighted = [&](Vec<T> grad, int64_t i, int lanes) __attribute__((always_inline)) {
    if constexpr (Weighted) return grad * loadLanes(of.weight + i, lanes);
    return grad;
  };
  Vec<T> total = Vec<T>::zero(), totalX = total;
  forVectors<T>(n, [&](int64_t i, int lanes) __attribute__((always_inline)) {
    const Vec<T> hat = (loadLanes(x + i, lanes) - center) * factor, grad = loadLanes(g + i, lanes), h = scaled(grad, i, lanes);
    const Vec<T> wh = weighted(h, i, lanes);
    total = total + wh;
    totalX = fma(wh, hat, totalX);
    if constexpr (Affine) {
      addTo(sums.weight + i, h * hat, lanes);
      addTo(sums.bias + i, h, lanes);
    }
    if constexpr (S != Scaled::no) {
      const Vec<T> ofScale = grad * fma(hat, loadLanes(of.weight + i, lanes), loadLanes(of.bias + i, lanes));
      if constexpr (S == Scaled::each) {
        storeLanes(ofScale, sums.scale + i, lanes);
      } else {
        addTo(sums.scale + i, ofScale, lanes);
        addTo(sums.shift + i, grad, lanes);
      }
    }
  });
  // dx = rstd (w h - a - x̂ b), a and b the means of w h and w h x̂
  const Vec<T> meanA = Vec<T>::set(total.sum() / static_cast<T>(n)), meanB = Vec<T>::set(totalX.sum() / static_cast<T>(n));
  forVectors<T>(n, [&](int64_t i, int lanes) __attribute__((always_inline)) {
    const Vec<T> hat = (loadLanes(x + i, lanes) - center) * factor;
    const Vec<T> wh = weighted(scaled(loadLanes(g + i, lanes), i, lanes), i, lanes);
    __builtin_prefetch(x + i + kAhead);
    __builtin_prefetch(g + i + kAhead);
    const Vec<T> own = (wh - meanA - hat * meanB) * factor;
    storeLanes(earlier ? own + loadLanes(earlier + i, lanes) : own, dx + i, lanes);
  });
}

template <class T>
void toZero(T* x, int64_t n) {
  for (int64_t i = 0; i < n; i++) x[i] = 0;
}

int64_t beginOf(const Blocks& b, int64_t block) { return block / b.each * b.stretch + block % b.each * b.blockRows; }
int64_t endOf(const Blocks& b, int64_t block) { return block + 1 < b.count ? beginOf(b, block + 1) : b.rows; }

template <class T, bool Weighted, bool Affine, Scaled S>
void gradBlocks(const Rows<T>& of, const Blocks& blocks, int64_t begin, int64_t end, const T* mean, const T* rstd, const T* grad, const T* earlier,
                T* dx, T* partial, const ModulationSums& to) {
  const int64_t n = of.n, from = beginOf(blocks, begin), until = endOf(blocks, end - 1);
  const bool several = blocks.each > 1;
  int64_t block = begin;
  streamRows(dx + from * n, from, until, n, [&](int64_t first, int64_t last, T* out) {
    for (int64_t row = first; row < last; row++, out += n) {
      if (row == endOf(blocks, block)) block++;
      const bool opens = row == beginOf(blocks, block);
      Sums<T> sums{};
      if constexpr (Affine) {
        sums.weight = partial + block * 2 * n;
        sums.bias = sums.weight + n;
        if (opens) toZero(sums.weight, 2 * n);
      }
      if constexpr (S != Scaled::no) sums.scale = static_cast<T*>(to.scale) + (several ? block : row / of.rowsEach) * to.stride;
      if constexpr (S == Scaled::together) {
        sums.shift = static_cast<T*>(to.shift) + (several ? block : row / of.rowsEach) * to.stride;
        if (several ? opens : row % of.rowsEach == 0) {
          toZero(sums.scale, n);
          toZero(sums.shift, n);
        }
      }
      gradRow<T, Weighted, Affine, S>(of, row, mean[row], rstd[row], grad + row * n, earlier ? earlier + row * n : nullptr, out, sums);
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
