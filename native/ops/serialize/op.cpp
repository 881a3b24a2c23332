#include "op.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <vector>

#include "../elementwise/op.h"
#include "../sort/op.h"
#include "cuda.h"

namespace md::serialize {
namespace {

constexpr int64_t kRowGrain = 1 << 11;  // rows below which a second thread costs more than it brings

}  // namespace

Serialization serialize(Context& context, const Tensor& givenCoordinates, const Tensor& givenBatch, Curve curve, int64_t depth, const char* op) {
  if (depth < 1 || depth > kMostDepth) fail(ErrorKind::value, op, "depth is ", depth, ", expected 1 to ", kMostDepth);
  requireDType(givenCoordinates, DType::i32, op, "coordinates");
  requireRank(givenCoordinates, 2, op, "coordinates");
  const int64_t n = givenCoordinates.dim(0);
  requireShape(givenCoordinates, {n, 3}, op, "coordinates");
  requireShape(givenBatch, {n}, op, "batch");
  if (givenBatch.dtype != DType::i32 && givenBatch.dtype != DType::i64) {
    fail(ErrorKind::dtype, op, "batch has dtype ", dtypeName(givenBatch.dtype), ", expected i32 or i64");
  }
  if (n > INT32_MAX) fail(ErrorKind::shape, op, "coordinates has ", n, " rows, expected fewer than 2^31");
  const Tensor coordinates = contiguous(context, givenCoordinates, op);
  const Tensor batch = contiguous(context, elementwise::cast(context, givenBatch, DType::i64, op), op);

  Serialization out{empty(context, DType::i64, {n}, op), empty(context, DType::i32, {n}, op), empty(context, DType::i32, {n}, op)};
  if (context.onCuda()) {
    encodeCuda(context, coordinates, batch, curve, static_cast<int>(depth), out, op);
    Tensor codes = empty(context, DType::i64, {n}, op);
    copyInto(context, out.code, codes.raw(), op);
    sort::radixSort(context, codes, out.order, 63, op);
    invertCuda(context, out.order, out.inverse, op);
    return out;
  }
  const int64_t parts = std::clamp<int64_t>(n / kRowGrain, 1, context.pool.threads());
  std::vector<int64_t> bad(static_cast<size_t>(parts), -1), highest(static_cast<size_t>(parts), 0);
  parallelFor(context.pool, parts, 1, [&](int64_t first, int64_t last) {
    for (int64_t part = first; part < last; part++) {
      const auto at = static_cast<size_t>(part);
      int64_t most = 0;
      bad[at] = MD_CALL(encodeRows)(coordinates.data<int32_t>(), batch.data<int64_t>(), n * part / parts, n * (part + 1) / parts, curve,
                                    static_cast<int>(depth), out.code.data<int64_t>(), &most);
      highest[at] = most;
    }
  });
  for (const int64_t row : bad) {
    if (row < 0) continue;
    const int32_t* at = coordinates.data<int32_t>() + 3 * row;
    fail(ErrorKind::value, op, "row ", row, " is (", at[0], ", ", at[1], ", ", at[2], ") of batch item ", batch.data<int64_t>()[row],
         ", expected coordinates from 0 to ", (1 << depth) - 1, " and an item from 0 to ", (int64_t{1} << (63 - 3 * depth)) - 1);
  }

  int32_t* order = out.order.data<int32_t>();
  std::iota(order, order + n, 0);
  Tensor codes = empty(context, DType::i64, {n}, op);
  copyInto(context, out.code, codes.raw());
  const int bits = static_cast<int>(3 * depth) + std::bit_width(static_cast<uint64_t>(*std::max_element(highest.begin(), highest.end())));
  sort::radixSort(context, codes, out.order, bits, op);
  order = out.order.data<int32_t>();
  for (int64_t i = 0; i < n; i++) out.inverse.data<int32_t>()[order[i]] = static_cast<int32_t>(i);
  return out;
}

}  // namespace md::serialize
