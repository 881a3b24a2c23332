#include <cmath>

#include "../../isa/run.h"
#include "../../isa/stream.h"
#include "op.h"

namespace md::layer_norm::MD_ISA {
namespace {

using md::MD_ISA::kAhead;
using md::MD_ISA::squaredDistanceOf;
using md::MD_ISA::streamRows;
using md::MD_ISA::sumOf;
using md::MD_ISA::Vec;

// y = (x - mean) · rstd, times weight where Weighted, plus bias where Biased.
template <class T, bool Weighted, bool Biased>
void normalizeRow(int64_t n, const T* x, T mean, T rstd, const T* weight, const T* bias, T* y) {
  constexpr int W = Vec<T>::width;
  const Vec<T> center = Vec<T>::set(mean), scale = Vec<T>::set(rstd);
  int64_t i = 0;
  for (; i + W <= n; i += W) {
    __builtin_prefetch(x + i + kAhead);
    Vec<T> v = (Vec<T>::load(x + i) - center) * scale;
    if constexpr (Weighted) v = v * Vec<T>::load(weight + i);
    if constexpr (Biased) v = v + Vec<T>::load(bias + i);
    v.store(y + i);
  }
  for (; i < n; i++) {
    T v = (x[i] - mean) * rstd;
    if constexpr (Weighted) v *= weight[i];
    if constexpr (Biased) v += bias[i];
    y[i] = v;
  }
}

template <class T, bool Weighted, bool Biased>
void forward(int64_t n, T eps, int64_t begin, int64_t end, const T* x, const T* weight, const T* bias, T* y, T* means, T* rstds) {
  streamRows(y + begin * n, begin, end, n, [&](int64_t first, int64_t last, T* to) {
    for (int64_t row = first; row < last; row++, to += n) {
      const T* in = x + row * n;
      const T mean = sumOf(in, n) / static_cast<T>(n);
      const T rstd = T(1) / std::sqrt(squaredDistanceOf(in, mean, n) / static_cast<T>(n) + eps);
      means[row] = mean;
      rstds[row] = rstd;
      normalizeRow<T, Weighted, Biased>(n, in, mean, rstd, weight, bias, to);
    }
  });
}

// The gradient times the weight, where there is one.
template <class T, bool Weighted>
Vec<T> weighted(Vec<T> grad, const T* weight, int64_t i) {
  if constexpr (Weighted) return grad * Vec<T>::load(weight + i);
  return grad;
}

// One row: dx, and grad · x̂ and grad added to sumX and sumG where Affine.
template <class T, bool Weighted, bool Affine>
void gradRow(int64_t n, const T* x, const T* weight, T mean, T rstd, const T* g, T* dx, T* sumX, T* sumG) {
  constexpr int W = Vec<T>::width;
  const Vec<T> center = Vec<T>::set(mean), scale = Vec<T>::set(rstd);
  Vec<T> total = Vec<T>::zero(), totalX = total;
  int64_t i = 0;
  for (; i + W <= n; i += W) {
    const Vec<T> hat = (Vec<T>::load(x + i) - center) * scale, grad = Vec<T>::load(g + i);
    const Vec<T> wg = weighted<T, Weighted>(grad, weight, i);
    total = total + wg;
    totalX = fma(wg, hat, totalX);
    if constexpr (Affine) {
      fma(grad, hat, Vec<T>::load(sumX + i)).store(sumX + i);
      (grad + Vec<T>::load(sumG + i)).store(sumG + i);
    }
  }
  T a = total.sum(), b = totalX.sum();
  for (int64_t k = i; k < n; k++) {
    const T hat = (x[k] - mean) * rstd, wg = Weighted ? g[k] * weight[k] : g[k];
    a += wg;
    b += wg * hat;
    if constexpr (Affine) {
      sumX[k] += g[k] * hat;
      sumG[k] += g[k];
    }
  }
  // dx = rstd (w g - a/n - x̂ b/n)
  a /= static_cast<T>(n);
  b /= static_cast<T>(n);
  const Vec<T> meanA = Vec<T>::set(a), meanB = Vec<T>::set(b);
  for (i = 0; i + W <= n; i += W) {
    const Vec<T> hat = (Vec<T>::load(x + i) - center) * scale, grad = Vec<T>::load(g + i);
    const Vec<T> wg = weighted<T, Weighted>(grad, weight, i);
    __builtin_prefetch(x + i + kAhead);
    __builtin_prefetch(g + i + kAhead);
    ((wg - meanA - hat * meanB) * scale).store(dx + i);
  }
  for (; i < n; i++) {
    const T hat = (x[i] - mean) * rstd, wg = Weighted ? g[i] * weight[i] : g[i];
    dx[i] = (wg - a - hat * b) * rstd;
  }
}

template <class T, bool Weighted, bool Affine>
void gradBlocks(int64_t rows, int64_t n, int64_t begin, int64_t end, const T* x, const T* weight, const T* mean, const T* rstd, const T* grad, T* dx, T* partial) {
  const int64_t from = begin * kBlockRows, to = end * kBlockRows < rows ? end * kBlockRows : rows;
  streamRows(dx + from * n, from, to, n, [&](int64_t first, int64_t last, T* out) {
    for (int64_t row = first; row < last; row++, out += n) {
      T* sumX = Affine ? partial + row / kBlockRows * 2 * n : nullptr;
      T* sumG = Affine ? sumX + n : nullptr;
      if constexpr (Affine) {
        if (row % kBlockRows == 0)
          for (int64_t i = 0; i < 2 * n; i++) sumX[i] = 0;
      }
      gradRow<T, Weighted, Affine>(n, x + row * n, weight, mean[row], rstd[row], grad + row * n, out, sumX, sumG);
    }
  });
}

}  // namespace

void layerNormRows(DType dtype, int64_t n, double eps, int64_t begin, int64_t end, const void* x, const void* weight, const void* bias,
                   void* y, void* mean, void* rstd) {
  dispatchFloat(dtype, "layerNorm", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto run = weight ? (bias ? forward<T, true, true> : forward<T, true, false>)
                            : (bias ? forward<T, false, true> : forward<T, false, false>);
    run(n, static_cast<T>(eps), begin, end, static_cast<const T*>(x), static_cast<const T*>(weight), static_cast<const T*>(bias),
        static_cast<T*>(y), static_cast<T*>(mean), static_cast<T*>(rstd));
  });
}

void layerNormGradBlocks(DType dtype, int64_t rows, int64_t n, int64_t begin, int64_t end, const void* x, const void* weight,
                         const void* mean, const void* rstd, const void* grad, void* dx, void* partial) {
  dispatchFloat(dtype, "layerNormGrad", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto run = weight ? (partial ? gradBlocks<T, true, true> : gradBlocks<T, true, false>)
                            : (partial ? gradBlocks<T, false, true> : gradBlocks<T, false, false>);
    run(rows, n, begin, end, static_cast<const T*>(x), static_cast<const T*>(weight), static_cast<const T*>(mean),
        static_cast<const T*>(rstd), static_cast<const T*>(grad), static_cast<T*>(dx), static_cast<T*>(partial));
  });
}

void layerNormCombine(DType dtype, int64_t blocks, int64_t n, int64_t begin, int64_t end, const void* partial, void* dWeight, void* dBias) {
  dispatchFloat(dtype, "layerNormGrad", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* in = static_cast<const T*>(partial);
    for (int64_t i = begin; i < end; i++) {
      double w = 0, b = 0;
      for (int64_t block = 0; block < blocks; block++) {
        w += static_cast<double>(in[block * 2 * n + i]);
        b += static_cast<double>(in[block * 2 * n + n + i]);
      }
      static_cast<T*>(dWeight)[i] = static_cast<T>(w);
      static_cast<T*>(dBias)[i] = static_cast<T>(b);
    }
  });
}

}  // namespace md::layer_norm::MD_ISA
