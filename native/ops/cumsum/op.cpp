#include "op.h"

#include <algorithm>

#include "../elementwise/op.h"
#include "cuda.h"

namespace md::cumsum {
namespace {
constexpr int64_t kElementGrain = 1 << 14;  // elements below which a second thread costs more than it brings
}

Tensor cumsum(Context& context, const Tensor& given, int64_t givenAxis, bool reverse, const char* op) {
  if (given.dtype == DType::u8 || given.dtype == DType::boolean) {
    fail(ErrorKind::dtype, op, "x has dtype ", dtypeName(given.dtype), ", expected f32, f64, i32 or i64");
  }
  const int axis = resolveAxis(givenAxis, given.rank(), op);
  const Tensor x = contiguous(context, given.dtype == DType::i32 ? elementwise::cast(context, given, DType::i64, op) : given, op);
  Tensor out = empty(context, x.dtype, x.shape, op);
  const AxisSplit split = splitAt(x.shape, axis);
  if (context.onCuda()) {
    cumsumCuda(context, split, reverse, x, out, op);
    return out;
  }
  const int64_t tiles = (split.inner + kTile - 1) / kTile;
  parallelFor(context.pool, split.outer * tiles, kElementGrain / std::max<int64_t>(1, split.extent * std::min(split.inner, kTile)) + 1,
              [&](int64_t begin, int64_t end) { MD_CALL(cumsumUnits)(x.dtype, x.raw(), split, reverse, begin, end, out.raw()); });
  return out;
}

}  // namespace md::cumsum
