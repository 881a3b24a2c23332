// One axis of a contiguous tensor: element (o, i, j) lies at (o * extent + i) * inner + j.
#pragma once
#include "tensor.h"

namespace md {

struct AxisSplit {
  int64_t outer = 1;   // product of the extents before the axis
  int64_t extent = 1;  // of the axis itself
  int64_t inner = 1;   // product of the extents after it
};

inline AxisSplit splitAt(const Dims& shape, int axis) {
  AxisSplit split;
  for (int i = 0; i < axis; i++) split.outer *= shape[i];
  split.extent = shape[axis];
  for (int i = axis + 1; i < shape.rank; i++) split.inner *= shape[i];
  return split;
}

}  // namespace md
