// Ordering: the stable radix sort that voxel hash and sort share.
#pragma once
#include "../../core/context.h"
#include "../../isa/isa.h"

namespace md::sort {

/// Sorts `codes` (i64 [n], no bit above the lowest `bits` set) ascending and `order` (i32 [n]) along with it, stably.
/// Least significant digit first; both tensors may be exchanged for others of the same shape.
void radixSort(Context& context, Tensor& codes, Tensor& order, int bits, const char* op);

// Kernels of cpu.cpp.

MD_KERNEL(void, digitCounts, const int64_t* codes, int64_t begin, int64_t end, int shift, int64_t mask, int32_t* counts)
/// Moves [begin, end) to where `next[digit]` points, advancing it.
MD_KERNEL(void, digitScatter, const int64_t* codes, const int32_t* order, int64_t begin, int64_t end, int shift, int64_t mask,
          int32_t* next, int64_t* codesOut, int32_t* orderOut)

}  // namespace md::sort
