// The rotation of one row, for kernel files.
#pragma once
#include <cstdint>

namespace md::rotary_embedding::MD_ISA {

/// out = x [headDim] with its first `pairs` pairs turned by table [pairs, 2] (back for sign = -1); out may be x.
template <class T>
inline void rotateRow(const T* x, const T* __restrict table, T* out, int64_t pairs, int64_t headDim, T sign) {
  for (int64_t j = 0; j < pairs; j++) {
    const T c = table[2 * j], s = sign * table[2 * j + 1];
    const T first = x[2 * j], second = x[2 * j + 1];
    out[2 * j] = first * c - second * s;
    out[2 * j + 1] = first * s + second * c;
  }
  for (int64_t d = 2 * pairs; d < headDim; d++) out[d] = x[d];
}

}  // namespace md::rotary_embedding::MD_ISA
