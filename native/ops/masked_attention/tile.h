// Register tiles of the attention kernels. For kernel files only.
#pragma once
#include <cstring>
#include <limits>
#include <type_traits>

#include "../../core/dtype.h"
#include "../../isa/simd.h"
#include "shared.h"

namespace md::masked_attention::MD_ISA {

using md::MD_ISA::Vec;

/// Most rows of V vectors that fit into the registers together with a row of the right operand and one of the left's.
template <int V>
constexpr int kTileRows = (md::MD_ISA::kRegisters - (V > 2 ? V : 2) - 1) / (V > 2 ? V : 2);

/// R rows of V vectors, held in registers: acc[r] += Σ_i a[r * aRow + i * aStep] · b[i * bStep …].
template <class T, int R, int V>
struct Tile {
  static constexpr int width = Vec<T>::width;
  Vec<T> acc[R][V];

  __attribute__((always_inline)) void clear() {
    for (int r = 0; r < R; r++)
      for (int v = 0; v < V; v++) acc[r][v] = Vec<T>::zero();
  }
  __attribute__((always_inline)) void load(const T* c, int64_t row) {
    for (int r = 0; r < R; r++)
      for (int v = 0; v < V; v++) acc[r][v] = Vec<T>::load(c + r * row + v * width);
  }
  __attribute__((always_inline)) void store(T* c, int64_t row) const {
    for (int r = 0; r < R; r++)
      for (int v = 0; v < V; v++) acc[r][v].store(c + r * row + v * width);
  }
  __attribute__((always_inline)) void multiply(int64_t depth, const T* a, int64_t aRow, int64_t aStep, const T* b, int64_t bStep) {
#pragma GCC unroll 4
    for (int64_t i = 0; i < depth; i++, a += aStep, b += bStep) {
      Vec<T> column[V];
      for (int v = 0; v < V; v++) column[v] = Vec<T>::load(b + v * width);
      for (int r = 0; r < R; r++) {
        const Vec<T> scalar = Vec<T>::set(a[r * aRow]);
        for (int v = 0; v < V; v++) acc[r][v] = fma(scalar, column[v], acc[r][v]);
      }
    }
  }
};

/// f(row, integral_constant<size>) for a size of 1 to Most.
template <int Most, class F>
__attribute__((always_inline)) inline void oneTile(int64_t row, int64_t size, F&& f) {
  if constexpr (Most > 1) {
    if (size < Most) return oneTile<Most - 1>(row, size, f);
  }
  f(row, std::integral_constant<int, Most>{});
}

/// f(row, integral_constant<R>) over `rows` rows in tiles of V vectors, as even as they can be: 16 rows are 6 + 5 + 5.
template <int V, class F>
__attribute__((always_inline)) inline void forTiles(int64_t rows, F&& f) {
  int64_t tiles = (rows + kTileRows<V> - 1) / kTileRows<V>;
  for (int64_t row = 0; tiles > 0; tiles--) {
    const int64_t size = (rows - row + tiles - 1) / tiles;
    oneTile<kTileRows<V>>(row, size, f);
    row += size;
  }
}

/// Σ a · b
template <class T>
inline T dot(const T* a, const T* b, int64_t n) {
  constexpr int width = Vec<T>::width;
  Vec<T> sum = Vec<T>::zero();
  int64_t i = 0;
  for (; i + width <= n; i += width) sum = fma(Vec<T>::load(a + i), Vec<T>::load(b + i), sum);
  if (i < n) sum = fma(Vec<T>::loadPart(a + i, static_cast<int>(n - i)), Vec<T>::loadPart(b + i, static_cast<int>(n - i)), sum);
  return sum.sum();
}

/// y += scale · x
template <class T>
inline void addScaled(T* __restrict y, T scale, const T* __restrict x, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] += scale * x[i];
}

enum class Coverage { none, some, all };

/// How much of a block of queries and keys the predicate lets through.
inline Coverage coverage(const Predicate& predicate, const uint8_t* headMask, int64_t query, int64_t queries, int64_t key, int64_t keys) {
  if (predicate.kind == Predicate::Kind::all) return Coverage::all;
  if (predicate.kind == Predicate::Kind::causal) {
    if (key + keys - 1 <= query + predicate.offset) return Coverage::all;
    return key > query + queries - 1 + predicate.offset ? Coverage::none : Coverage::some;
  }
  uint8_t any = 0, all = 1;
  for (int64_t i = 0; i < queries; i++) {
    const uint8_t* row = headMask + (query + i) * predicate.stride[2] + key * predicate.stride[3];
    if (predicate.stride[3] == 1) {
      for (int64_t j = 0; j < keys; j++) any |= row[j], all &= row[j];
    } else {
      for (int64_t j = 0; j < keys; j++) any |= row[j * predicate.stride[3]], all &= row[j * predicate.stride[3]];
    }
  }
  return any == 0 ? Coverage::none : (all == 1 ? Coverage::all : Coverage::some);
}

/// -infinity for the scores [query i · queryStep + key j · keyStep] that the predicate rules out.
template <class T>
inline void ruleOut(const Predicate& predicate, const uint8_t* headMask, int64_t query, int64_t queries, int64_t key, int64_t keys,
                    T* scores, int64_t queryStep, int64_t keyStep) {
  constexpr T none = -std::numeric_limits<T>::infinity();
  constexpr T limit[2] = {none, std::numeric_limits<T>::infinity()};  // no branch: a mask may be random
  for (int64_t i = 0; i < queries; i++) {
    T* row = scores + i * queryStep;
    if (predicate.kind == Predicate::Kind::causal) {
      const int64_t first = query + i + predicate.offset + 1 - key;
      for (int64_t j = first > 0 ? first : 0; j < keys; j++) row[j * keyStep] = none;
    } else {
      const uint8_t* allowed = headMask + (query + i) * predicate.stride[2] + key * predicate.stride[3];
      for (int64_t j = 0; j < keys; j++) {
        const T most = limit[allowed[j * predicate.stride[3]]];
        row[j * keyStep] = row[j * keyStep] < most ? row[j * keyStep] : most;
      }
    }
  }
}

/// f(type_identity<float>) or f(type_identity<double>); the op has checked the dtype.
template <class F>
inline decltype(auto) withType(DType dtype, F&& f) {
  return dtype == DType::f32 ? f(std::type_identity<float>{}) : f(std::type_identity<double>{});
}

}  // namespace md::masked_attention::MD_ISA
