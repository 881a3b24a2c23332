// Voxels in the order of a space-filling curve (Point Transformer V3): codes, their stable order, and its inverse.
#pragma once
#include "../../core/context.h"
#include "../../isa/isa.h"

namespace md::serialize {

/// Order is that of `curves` in packages/tensor/src/ops/serialize.ts. "Trans" exchanges x and y.
enum class Curve : int32_t { z, zTrans, hilbert, hilbertTrans, count };

constexpr int64_t kMostDepth = 16;

struct Serialization {
  Tensor code;     // i64 [N]: batch << 3 * depth | place on the curve
  Tensor order;    // i32 [N]: rows by rising code, equal ones in their own order
  Tensor inverse;  // i32 [N]: the place of each row in `order`
};

/// coordinates [N, 3] i32, each 0 … 2^depth - 1; batch [N] i32 or i64. ValueError naming the row for one outside, for a
/// batch index that does not fit beside the code in 63 bits, and for a depth outside 1 … 16.
Serialization serialize(Context& context, const Tensor& coordinates, const Tensor& batch, Curve curve, int64_t depth, const char* op);

/// Codes of rows [begin, end); `highest` becomes the highest batch index. Returns the first row outside, or -1.
MD_KERNEL(int64_t, encodeRows, const int32_t* coordinates, const int64_t* batch, int64_t begin, int64_t end, Curve curve, int depth,
          int64_t* codes, int64_t* highest)

}  // namespace md::serialize
