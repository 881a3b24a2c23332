// Places on space-filling curves, compiled for every device. Lanes rows at a time, so that a CPU's loops vectorise.
#pragma once
#include <cstdint>

#include "../../core/host_device.h"

namespace md::serialize {

// Internal linkage, so that no instruction set's copy can stand in for another's.

// Two zero bits between each of the lowest 16 of v.
MD_HOST_DEVICE static inline int64_t spread(int64_t v) {
  v = (v | v << 16) & 0xFF0000FF;
  v = (v | v << 8) & 0xF00F00F00F;
  v = (v | v << 4) & 0xC30C30C30C3;
  v = (v | v << 2) & 0x249249249249;
  return v;
}

MD_HOST_DEVICE static inline int64_t interleave(int32_t x, int32_t y, int32_t z) { return spread(x) << 2 | spread(y) << 1 | spread(z); }

/// The place on the Hilbert curve, its bits spread over the axes (Skilling, "Programming the Hilbert curve", 2004).
template <int Lanes>
MD_HOST_DEVICE static inline void toHilbert(int32_t (&x)[3][Lanes], int depth) {
  for (int bit = depth - 1; bit > 0; bit--) {
    const int32_t lower = (1 << bit) - 1;
    for (int axis = 0; axis < 3; axis++) {
      for (int i = 0; i < Lanes; i++) {
        const int32_t invert = -(x[axis][i] >> bit & 1);
        const int32_t exchange = (x[0][i] ^ x[axis][i]) & lower & ~invert;
        x[0][i] ^= exchange | (lower & invert);
        x[axis][i] ^= exchange;
      }
    }
  }
  for (int i = 0; i < Lanes; i++) {
    x[1][i] ^= x[0][i];
    x[2][i] ^= x[1][i];
    int32_t t = x[2][i] >> 1;  // each bit becomes the parity of those above it
    t ^= t >> 1;
    t ^= t >> 2;
    t ^= t >> 4;
    t ^= t >> 8;
    for (int axis = 0; axis < 3; axis++) x[axis][i] ^= t;
  }
}

}  // namespace md::serialize
