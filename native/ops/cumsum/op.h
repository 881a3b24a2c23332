// Running sums along one axis.
#pragma once
#include "../../core/axis.h"
#include "../../core/context.h"
#include "../../isa/isa.h"

namespace md::cumsum {

/// out[i] = x[0] + … + x[i] along `axis`, or x[i] + … + x[n-1] where `reverse`. f32 is summed in f64; i32 and i64 give i64.
Tensor cumsum(Context& context, const Tensor& x, int64_t axis, bool reverse, const char* op);

constexpr int64_t kTile = 64;  // columns that a kernel sums side by side

/// Units [begin, end) of (outer index, tile of columns), the tiles of one outer index in a row.
MD_KERNEL(void, cumsumUnits, DType dtype, const void* x, const AxisSplit& split, bool reverse, int64_t begin, int64_t end, void* out)

}  // namespace md::cumsum
