#include "op.h"

namespace md::serialize::MD_ISA {
namespace {

constexpr int kLanes = 64;  // rows at a time, so that the loops over bits vectorise

// Three zero bits between the lowest 16 of v.
int64_t spread(int64_t v) {
  v = (v | v << 16) & 0xFF0000FF;
  v = (v | v << 8) & 0xF00F00F00F;
  v = (v | v << 4) & 0xC30C30C30C3;
  v = (v | v << 2) & 0x249249249249;
  return v;
}

// The place on the Hilbert curve, its bits spread over the axes (Skilling, "Programming the Hilbert curve", 2004).
void toHilbert(int32_t (&x)[3][kLanes], int depth) {
  for (int bit = depth - 1; bit > 0; bit--) {
    const int32_t lower = (1 << bit) - 1;
    for (int axis = 0; axis < 3; axis++) {
      for (int i = 0; i < kLanes; i++) {
        const int32_t invert = -(x[axis][i] >> bit & 1);
        const int32_t exchange = (x[0][i] ^ x[axis][i]) & lower & ~invert;
        x[0][i] ^= exchange | (lower & invert);
        x[axis][i] ^= exchange;
      }
    }
  }
  for (int i = 0; i < kLanes; i++) {
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

}  // namespace

int64_t encodeRows(const int32_t* coordinates, const int64_t* batch, int64_t begin, int64_t end, Curve curve, int depth,
                   int64_t* codes, int64_t* highest) {
  const bool hilbert = curve == Curve::hilbert || curve == Curve::hilbertTrans;
  const int first = curve == Curve::zTrans || curve == Curve::hilbertTrans ? 1 : 0;
  const int32_t limit = 1 << depth;
  const int64_t batchLimit = int64_t{1} << (63 - 3 * depth);
  int32_t x[3][kLanes] = {};
  for (int64_t row = begin; row < end; row += kLanes) {
    const int rows = static_cast<int>(end - row < kLanes ? end - row : kLanes);
    for (int i = 0; i < rows; i++) {
      const int32_t* at = coordinates + 3 * (row + i);
      const int64_t item = batch[row + i];
      const int32_t outside = (at[0] < 0) | (at[0] >= limit) | (at[1] < 0) | (at[1] >= limit) | (at[2] < 0) | (at[2] >= limit);
      if (outside || item < 0 || item >= batchLimit) return row + i;
      *highest = item > *highest ? item : *highest;
      x[0][i] = at[first];
      x[1][i] = at[1 - first];
      x[2][i] = at[2];
    }
    if (hilbert) toHilbert(x, depth);
    for (int i = 0; i < rows; i++) codes[row + i] = batch[row + i] << 3 * depth | spread(x[0][i]) << 2 | spread(x[1][i]) << 1 | spread(x[2][i]);
  }
  return -1;
}

}  // namespace md::serialize::MD_ISA
