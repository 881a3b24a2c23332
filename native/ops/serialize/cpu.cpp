#include "op.h"
#include "shared.h"

namespace md::serialize::MD_ISA {
namespace {

constexpr int kLanes = 64;  // rows at a time, so that the loops over bits vectorise

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
    for (int i = 0; i < rows; i++) codes[row + i] = batch[row + i] << 3 * depth | interleave(x[0][i], x[1][i], x[2][i]);
  }
  return -1;
}

}  // namespace md::serialize::MD_ISA
