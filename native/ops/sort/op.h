// Ordering along one axis: stable sort, the k largest or smallest, and the radix sort behind them and the voxel hash.
// NaN counts as larger than any number, -0 equals 0.
#pragma once
#include "../../core/axis.h"
#include "../../core/context.h"
#include "../../isa/isa.h"

namespace md::sort {

struct Sorted {
  Tensor values;   // dtype of x
  Tensor indices;  // i64: where along the axis each value was
};

/// Stable in both directions: equal elements keep their order. Any dtype.
Sorted sort(Context& context, const Tensor& x, int64_t axis, bool descending, const char* op);

/// The `k` largest (or smallest) in order; of equal elements the first ones. ValueError unless 0 <= k <= extent.
Sorted topk(Context& context, const Tensor& x, int64_t k, int64_t axis, bool largest, const char* op);

/// Sorts `codes` (i64 [n], read as unsigned, no bit above the lowest `bits` set) ascending and `order` (i32 [n]) along
/// with it, stably. Least significant digit first; both tensors may be exchanged for others of the same shape.
void radixSort(Context& context, Tensor& codes, Tensor& order, int bits, const char* op);

// Kernels of cpu.cpp. A code is an unsigned integer whose order is the wanted order of the elements.

/// One row of x: `extent` elements `stride` apart.
struct Row {
  const void* x;
  int64_t stride;
  int64_t extent;
};

MD_KERNEL(void, encodeRow, DType dtype, const Row& row, bool descending, int64_t* codes, int32_t* order)
/// The first `count` of `order` and the elements there, `stride` apart.
MD_KERNEL(void, emitRow, DType dtype, const Row& row, const int32_t* order, int64_t count, int64_t stride, void* values, int64_t* indices)
/// Sorts codes and order in place; the spare buffers are of the same length.
MD_KERNEL(void, sortRow, int64_t* codes, int32_t* order, int64_t n, int bits, int64_t* spareCodes, int32_t* spareOrder)
/// Moves the k least codes, in order, to the front: one pass over a sorted buffer of k.
MD_KERNEL(void, selectRow, int64_t* codes, int32_t* order, int64_t n, int64_t k)
MD_KERNEL(void, digitCounts, const int64_t* codes, int64_t begin, int64_t end, int shift, int64_t mask, int32_t* counts)
/// Writes those of [begin, end) whose digit is at most `last`, in their order.
MD_KERNEL(void, digitsUpTo, const int64_t* codes, const int32_t* order, int64_t begin, int64_t end, int shift, int64_t mask,
          int64_t last, int64_t* codesOut, int32_t* orderOut)
/// Moves [begin, end) to where `next[digit]` points, advancing it.
MD_KERNEL(void, digitScatter, const int64_t* codes, const int32_t* order, int64_t begin, int64_t end, int shift, int64_t mask,
          int32_t* next, int64_t* codesOut, int32_t* orderOut)

}  // namespace md::sort
