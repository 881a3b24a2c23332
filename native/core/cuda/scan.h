// Sums over all that stands before, on a CUDA device. Integers, so that the order does not matter.
#pragma once
#include "../context.h"

namespace md::cuda {

/// i32 or i64 [n + 1], of which n are counts: becomes n starts and, last, the total.
void startsOf(Context& context, const Tensor& counts, const char* op);

}  // namespace md::cuda
