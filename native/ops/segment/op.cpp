#include "op.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "cuda.h"

namespace md::segment {
namespace {

constexpr int64_t kElementGrain = 1 << 14;  // elements below which a second thread costs more than it brings

struct Checked {
  Tensor offsets, order;  // contiguous; order without storage where there is none
  int64_t segments, rows;
  bool apart = false;  // each row is known to be a segment of its own, in their order: the sums are the rows
};

// Without branches, which would take longer than most reductions.
bool isPermutation(const int32_t* order, int64_t rows) {
  const auto limit = static_cast<uint32_t>(rows);
  uint32_t outside = 0;
  for (int64_t i = 0; i < rows; i++) outside |= static_cast<uint32_t>(order[i]) >= limit;
  if (outside) return false;
  std::vector<uint8_t> seen(static_cast<size_t>(rows), 0);
  uint8_t again = 0;
  for (int64_t i = 0; i < rows; i++) again |= std::exchange(seen[static_cast<size_t>(order[i])], uint8_t{1});
  return !again;
}

[[noreturn]] void failOrder(const int32_t* order, int64_t rows, const char* op) {
  std::vector<bool> seen(static_cast<size_t>(rows), false);
  for (int64_t i = 0;; i++) {
    if (order[i] < 0 || order[i] >= rows) fail(ErrorKind::value, op, "order[", i, "] is ", order[i], ", expected 0 to ", rows - 1);
    if (seen[static_cast<size_t>(order[i])]) fail(ErrorKind::value, op, "order[", i, "] is ", order[i], " again, expected each row once");
    seen[static_cast<size_t>(order[i])] = true;
  }
}

Checked requireSegments(Context& context, const Segments& given, int64_t rows, bool nonempty, const char* op) {
  requireDType(given.offsets, DType::i32, op, "offsets");
  requireRank(given.offsets, 1, op, "offsets");
  Checked checked{contiguous(context, given.offsets, op), {}, given.offsets.dim(0) - 1, rows};
  if (checked.segments < 0) fail(ErrorKind::shape, op, "offsets has shape [0], expected [segments + 1]");
  if (given.order) {
    requireDType(*given.order, DType::i32, op, "order");
    requireShape(*given.order, {rows}, op, "order");
    checked.order = contiguous(context, *given.order, op);
  }
  if (context.onCuda()) {
    checked.offsets = checkedOffsetsCuda(context, checked.offsets, rows, nonempty, op);
    if (given.order) checked.order = checkedOrderCuda(context, checked.order, op);
    return checked;
  }
  awaitElements(context, checked.offsets);
  const int32_t* at = checked.offsets.data<int32_t>();
  int32_t falling = at[0] != 0 || at[checked.segments] != rows, several = checked.segments != rows;
  for (int64_t s = 0; s < checked.segments; s++) {
    falling |= at[s] > at[s + 1];
    several |= at[s] != s;
  }
  if (falling) fail(ErrorKind::value, op, "offsets does not rise from 0 to the ", rows, " rows");
  for (int64_t s = 0; s < checked.segments && nonempty; s++) {
    if (at[s] == at[s + 1]) fail(ErrorKind::value, op, "segment ", s, " is empty, expected at least one row");
  }
  checked.apart = !several;
  if (!given.order) return checked;

  awaitElements(context, checked.order);
  const int32_t* order = checked.order.data<int32_t>();
  if (!isPermutation(order, rows)) failOrder(order, rows, op);
  for (int64_t i = 0; i < rows && checked.apart; i++) checked.apart = order[i] == i;
  return checked;
}

// [rows, …] with another number of rows.
Dims withRows(const Dims& shape, int64_t rows) {
  Dims out = shape;
  out[0] = rows;
  return out;
}

int64_t innerOf(const Dims& shape) {
  int64_t inner = 1;
  for (int axis = 1; axis < shape.rank; axis++) inner *= shape[axis];
  return inner;
}

void requireRows(const Tensor& x, const char* op, const char* operand) {
  requireFloat(x, op, operand);
  if (x.rank() < 1) fail(ErrorKind::shape, op, operand, " has shape [], expected [rows, …]");
  if (x.dim(0) > INT32_MAX) fail(ErrorKind::shape, op, operand, " has ", x.dim(0), " rows, expected fewer than 2^31");
}

Rows rowsOf(const Checked& checked, DType dtype, int64_t inner) {
  return {dtype, checked.offsets.data<int32_t>(), checked.order.storage ? checked.order.data<int32_t>() : nullptr, inner};
}

// body(rows, begin, end) over segments, the parts having about as many rows.
template <class Body>
void eachPart(Context& context, const Checked& checked, DType dtype, int64_t inner, Body body) {
  const Rows rows = rowsOf(checked, dtype, inner);
  const int64_t segments = checked.segments, count = checked.rows;
  const int64_t threads = context.pool.threads(), parts = std::clamp<int64_t>((count + segments) * inner / kElementGrain, 1, kPartsPerThread * threads);
  const auto beginOf = [=](int64_t part) -> int64_t {
    if (part == 0 || part == parts) return part == 0 ? 0 : segments;
    return std::lower_bound(rows.offsets, rows.offsets + segments, cutAt(count, part, parts, threads)) - rows.offsets;
  };
  shareOutLater(context.pool, parts, [=](int64_t part, int64_t) { body(rows, beginOf(part), beginOf(part + 1)); });
}

}  // namespace

Tensor reduce(Context& context, Reduction reduction, const Tensor& given, const Segments& segments, const char* op) {
  requireRows(given, op, "x");
  const Checked checked = requireSegments(context, segments, given.dim(0), false, op);
  const Tensor x = contiguous(context, given, op);
  if (checked.apart) return x;
  Tensor out = empty(context, x.dtype, withRows(x.shape, checked.segments), op);
  if (context.onCuda()) {
    reduceCuda(context, rowsOf(checked, x.dtype, innerOf(x.shape)), checked.segments, reduction, x, out, op);
    return out;
  }
  eachPart(context, checked, x.dtype, innerOf(x.shape), [reduction, x = x.raw(), out = out.raw()](const Rows& rows, int64_t begin, int64_t end) {
    MD_CALL(reduceSegments)(rows, reduction, begin, end, x, out);
  });
  return out;
}

Tensor reduceGrad(Context& context, Reduction reduction, const Tensor& given, const Tensor* chosen, const Segments& segments, int64_t rowCount,
                  const char* op) {
  requireRows(given, op, "grad");
  const Checked checked = requireSegments(context, segments, rowCount, chosen != nullptr, op);
  requireShape(given, withRows(given.shape, checked.segments), op, "grad");
  Tensor from;
  if (chosen) {
    requireDType(*chosen, DType::i32, op, "rows");
    requireShape(*chosen, given.shape, op, "rows");
    from = contiguous(context, *chosen, op);
  }
  const Tensor grad = contiguous(context, given, op);
  if (checked.apart && !chosen) return grad;
  Tensor out = empty(context, grad.dtype, withRows(grad.shape, rowCount), op);
  const int32_t* const places = chosen ? from.data<int32_t>() : nullptr;
  if (context.onCuda()) {
    spreadCuda(context, rowsOf(checked, grad.dtype, innerOf(grad.shape)), checked.segments, reduction, places, grad, out, op);
    return out;
  }
  eachPart(context, checked, grad.dtype, innerOf(grad.shape),
           [reduction, places, grad = grad.raw(), out = out.raw()](const Rows& rows, int64_t begin, int64_t end) {
             MD_CALL(spreadSegments)(rows, reduction, begin, end, grad, places, out);
           });
  return out;
}

Maximum max(Context& context, const Tensor& given, const Segments& segments, const char* op) {
  requireRows(given, op, "x");
  const Checked checked = requireSegments(context, segments, given.dim(0), true, op);
  const Tensor x = contiguous(context, given, op);
  const Dims shape = withRows(x.shape, checked.segments);
  Maximum out{empty(context, x.dtype, shape, op), empty(context, DType::i32, shape, op)};
  if (context.onCuda()) {
    maxCuda(context, rowsOf(checked, x.dtype, innerOf(x.shape)), checked.segments, x, out, op);
    return out;
  }
  eachPart(context, checked, x.dtype, innerOf(x.shape),
           [x = x.raw(), values = out.values.raw(), places = out.rows.data<int32_t>()](const Rows& rows, int64_t begin, int64_t end) {
             MD_CALL(maxSegments)(rows, begin, end, x, values, places);
           });
  return out;
}

}  // namespace md::segment
