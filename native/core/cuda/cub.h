// CUB, which comes with the CUDA toolkit, for what it does faster than kernels of our own: stable radix sorts, and sums of
// integers. Its templates are compiled in cub.cu alone. Under emulation, and where a toolkit lacks it, hasCub() is false
// and the callers' own kernels do the same, to the bit.
#pragma once
#include "../context.h"
#include "backend.h"

namespace md::cuda {

/// `codes` (i32 or i64 [n], read as unsigned, n below 2^31) ascending by their lowest `bits`, and
/// `order` (i32 [n]) along with it, stably. Both tensors may be exchanged for others.
void cubSortPairs(Context& context, Tensor& codes, Tensor& order, int bits, const char* op);
/// As startsOf in scan.h.
void cubStartsOf(Context& context, const Tensor& counts, const char* op);

}  // namespace md::cuda
