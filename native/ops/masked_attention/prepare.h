// What rows of q and k go through on their way into the kernels: LayerNorm over the head and 3D rotation, in either order.
// For kernel files only.
#pragma once
#include <cmath>
#include <cstring>

#include "../rotary_embedding/rotate.h"
#include "kernels.h"

namespace md::masked_attention::MD_ISA {

using md::rotary_embedding::MD_ISA::rotateRow;

/// The preparation of q or k in one call; `row` and `grad` work on D elements.
template <class T>
struct Preparer {
  const Preparation& p;
  int64_t depth;

  const T* angles(int64_t batch, int64_t token) const {
    return static_cast<const T*>(p.rotary) + batch * p.rotaryBatch + token * p.rotaryToken;
  }

  /// `to` = the prepared row of token `token`, times `scale`.
  void row(const T* from, T* to, int64_t batch, int64_t token, T scale) const {
    std::memcpy(to, from, static_cast<size_t>(depth) * sizeof(T));
    if (p.rotateFirst) rotate(to, batch, token, T(1));
    normalize(to);
    if (!p.rotateFirst) rotate(to, batch, token, T(1));
    for (int64_t d = 0; d < depth; d++) to[d] *= scale;
  }

  /// From the cotangent of the prepared row to that of the row x, in place; adds to those of weight and bias.
  void grad(const T* x, T* g, int64_t batch, int64_t token, T* dWeight, T* dBias, T* scratch) const {
    bool none = true;  // a padding row, which may hold NaN
    for (int64_t d = 0; d < depth; d++) none &= g[d] == T(0);
    if (none) return;
    if (!p.rotateFirst) rotate(g, batch, token, T(-1));
    if (p.weight) {
      std::memcpy(scratch, x, static_cast<size_t>(depth) * sizeof(T));
      if (p.rotateFirst) rotate(scratch, batch, token, T(1));
      normalizeGrad(scratch, g, dWeight, dBias);
    }
    if (p.rotateFirst) rotate(g, batch, token, T(-1));
  }

 private:
  void rotate(T* x, int64_t batch, int64_t token, T sign) const {
    if (p.rotary) rotateRow(x, angles(batch, token), x, p.pairs, depth, sign);
  }

  T standardize(T* x) const {
    T mean = 0, variance = 0;
    for (int64_t d = 0; d < depth; d++) mean += x[d];
    mean /= static_cast<T>(depth);
    for (int64_t d = 0; d < depth; d++) {
      x[d] -= mean;
      variance += x[d] * x[d];
    }
    const T rstd = T(1) / std::sqrt(variance / static_cast<T>(depth) + static_cast<T>(p.eps));
    for (int64_t d = 0; d < depth; d++) x[d] *= rstd;
    return rstd;
  }

  void normalize(T* x) const {
    if (!p.weight) return;
    standardize(x);
    const T* weight = static_cast<const T*>(p.weight);
    const T* bias = static_cast<const T*>(p.bias);
    for (int64_t d = 0; d < depth; d++) x[d] = x[d] * weight[d] + (bias ? bias[d] : T(0));
  }

  void normalizeGrad(T* x, T* g, T* dWeight, T* dBias) const {
    const T rstd = standardize(x);
    const T* weight = static_cast<const T*>(p.weight);
    T mean = 0, along = 0;
    for (int64_t d = 0; d < depth; d++) {
      dWeight[d] += g[d] * x[d];
      dBias[d] += g[d];
      g[d] *= weight[d];
      mean += g[d];
      along += g[d] * x[d];
    }
    mean /= static_cast<T>(depth);
    along /= static_cast<T>(depth);
    for (int64_t d = 0; d < depth; d++) g[d] = rstd * (g[d] - mean - along * x[d]);
  }
};

}  // namespace md::masked_attention::MD_ISA
