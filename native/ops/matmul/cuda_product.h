// What our own kernels share: their arguments, where an item of the batch lies, and what becomes of a sum.
#pragma once
#include "../../core/cuda/activations.h"
#include "../../core/cuda/launch.h"
#include "op.h"

namespace md::matmul {

constexpr int kTile = 64;  // rows and columns of C of a thread block

struct Strides {
  int rank;
  int64_t extent[kMaxRank], a[kMaxRank], b[kMaxRank], c[kMaxRank];
};

/// Of elements stored as S; sums are Computed<S>.
template <class S>
struct Product {
  int64_t m, n, k;
  const S* a;
  int64_t aRow, aCol;
  const S* b;
  int64_t bRow, bCol;
  S* c;
  int64_t cRow, cCol;
  Computed<S> alpha;
  bool accumulate;
  const S* bias;
  int64_t biasRow, biasCol;
  Activation activation;
  S* derivative;
  const S* residual;
  int64_t items;
  Strides batch;
};

/// Of one item, in elements.
struct Offsets {
  int64_t a = 0, b = 0, c = 0;
};
__device__ inline Offsets offsetsOf(const Strides& batch, int64_t item) {
  Offsets at;
  for (int axis = batch.rank - 1; axis >= 0; axis--) {
    const int64_t index = item % batch.extent[axis];
    item /= batch.extent[axis];
    at.a += index * batch.a[axis];
    at.b += index * batch.b[axis];
    at.c += index * batch.c[axis];
  }
  return at;
}

template <class T>
__device__ T activated(T x, Activation activation) {
  switch (activation) {
    case Activation::relu: return x > T(0) || x != x ? x : T(0);
    case Activation::gelu: return cuda::geluOf(x);
    case Activation::geluTanh: return cuda::geluTanhOf(x);
    case Activation::silu: return x * cuda::sigmoidOf(x);
    default: return x;
  }
}

/// The derivative of activated().
template <class T>
__device__ T derivativeOf(T x, Activation activation) {
  switch (activation) {
    case Activation::relu: return x > T(0) ? T(1) : T(0);
    case Activation::gelu: return cuda::geluGradOf(x);
    case Activation::geluTanh: return cuda::geluTanhGradOf(x);
    case Activation::silu: return cuda::siluGradOf(x);
    default: return T(1);
  }
}

/// Element (row, col) of C of the item that begins at `offset`, if there is one.
template <class S>
__device__ void store(const Product<S>& g, int64_t offset, int64_t row, int64_t col, Computed<S> sum) {
  using T = Computed<S>;
  if (row >= g.m || col >= g.n) return;
  const int64_t at = offset + row * g.cRow + col * g.cCol;
  T value = g.alpha * sum;
  if (g.accumulate) value += static_cast<T>(g.c[at]);
  if (g.bias) value += static_cast<T>(g.bias[row * g.biasRow + col * g.biasCol]);
  if (g.derivative) g.derivative[at] = static_cast<S>(derivativeOf(value, g.activation));
  value = activated(value, g.activation);
  if (g.residual) value += static_cast<T>(g.residual[at]);
  g.c[at] = static_cast<S>(value);
}

/// The kernel of cuda_fragments.cu on one thread block a tile; f16 and bf16.
template <class S>
void launchFragments(Context& context, const Product<S>& product, dim3 blocks, const char* op);

}  // namespace md::matmul
