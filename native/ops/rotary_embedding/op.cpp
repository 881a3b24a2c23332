#include "op.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cuda.h"

namespace md::rotary_embedding {
namespace {

constexpr int64_t kTableGrain = 64;    // tokens
constexpr int64_t kApplyGrain = 1 << 14;  // elements

// Strides of the table over x's leading axes, 0 where it broadcasts.
Dims broadcastTable(const Tensor& x, const Tensor& table, const char* op) {
  const int lead = x.rank() - 1, tableLead = table.rank() - 2;
  const bool sharedByHeads = tableLead == lead - 1 && tableLead >= 2;
  Dims stride;
  stride.rank = lead;
  bool fits = tableLead >= 1 && tableLead <= lead;
  for (int i = 1; i <= tableLead && fits; i++) {
    const int axis = lead - i - (sharedByHeads && i > 1), from = tableLead - i;
    fits = table.shape[from] == x.shape[axis] || table.shape[from] == 1;
    stride[axis] = table.shape[from] == 1 ? 0 : table.stride[from];
  }
  if (!fits || x.dim(-1) < 2 * table.dim(-2)) {
    fail(ErrorKind::shape, op, "table has shape ", table.shape.str(), ", expected [..., tokens, 3·⌊headDim/6⌋, 2] for x ", x.shape.str());
  }
  return stride;
}

}  // namespace

Tensor table(Context& context, const Tensor& positions, int64_t headDim, double scale, double base, const char* op) {
  requireFloat(positions, op, "xyz");
  if (positions.rank() < 2 || positions.rank() >= kMaxRank || positions.dim(-1) != 3) {
    fail(ErrorKind::shape, op, "xyz has shape ", positions.shape.str(), ", expected [..., tokens, 3]");
  }
  if (headDim < 1) fail(ErrorKind::value, op, "headDim is ", headDim, ", expected at least 1");
  if (!std::isfinite(scale)) fail(ErrorKind::value, op, "scale is ", scale, ", expected a finite number");
  if (!(base > 0) || !std::isfinite(base)) fail(ErrorKind::value, op, "base is ", base, ", expected a positive number");
  const Tensor xyz = contiguous(context, positions, op);
  const int64_t pairs = headDim / 6;
  Dims shape = xyz.shape;
  shape[shape.rank - 1] = 3 * pairs;
  shape.push(2);
  Tensor out = empty(context, xyz.dtype, shape, op);
  if (context.onCuda()) {
    tableCuda(context, xyz, pairs, scale, base, out, op);
    return out;
  }
  parallelForLater(context.pool, xyz.numel() / 3, kTableGrain,
                   [=, dtype = xyz.dtype, size = static_cast<int64_t>(itemSize(xyz.dtype)), xyz = xyz.data<char>(), out = out.data<char>()](int64_t begin, int64_t end) {
                     MD_CALL(tableRange)(dtype, xyz + begin * 3 * size, out + begin * 6 * pairs * size, end - begin, pairs, scale, base);
                   });
  return out;
}

Tensor apply(Context& context, const Tensor& input, const Tensor& tableInput, bool inverse, const char* op) {
  requireFloat(input, op, "x");
  requireDType(tableInput, input.dtype, op, "table");
  if (input.rank() < 2) fail(ErrorKind::shape, op, "x has shape ", input.shape.str(), ", expected [..., tokens, headDim]");
  if (tableInput.rank() < 3 || tableInput.dim(-1) != 2) {
    fail(ErrorKind::shape, op, "table has shape ", tableInput.shape.str(), ", expected [..., tokens, pairs, 2]");
  }
  const int last = input.rank() - 1;
  const Tensor x = input.stride[last] == 1 ? input : contiguous(context, input, op);
  const Tensor table = contiguous(context, tableInput, op);
  const Dims tableStride = broadcastTable(x, table, op);

  int order[kMaxRank];
  std::iota(order, order + last, 0);
  std::stable_sort(order, order + last, [&](int a, int b) { return x.stride[a] > x.stride[b]; });
  RowLoop loop;
  loop.rank = last;
  loop.headDim = x.dim(-1);
  loop.pairs = table.dim(-2);
  Dims inOrder;
  for (int i = 0; i < last; i++) inOrder.push(x.shape[order[i]]);
  inOrder.push(loop.headDim);
  Tensor out = empty(context, x.dtype, inOrder, op);
  const Dims outStride = out.stride;
  for (int i = 0; i < last; i++) {
    const int axis = order[i];
    loop.extent[i] = x.shape[axis];
    loop.x[i] = x.stride[axis];
    loop.table[i] = tableStride[axis];
    loop.out[i] = outStride[i];
    out.stride[axis] = outStride[i];
  }
  out.shape = x.shape;
  if (out.numel() == 0) return out;
  if (context.onCuda()) {
    applyCuda(context, loop, x, table, inverse, out, op);
    return out;
  }
  parallelForLater(context.pool, out.numel() / loop.headDim, kApplyGrain / loop.headDim + 1,
                   [=, dtype = x.dtype, x = x.raw(), table = table.raw(), to = out.raw()](int64_t begin, int64_t end) {
                     MD_CALL(applyRows)(dtype, loop, begin, end, x, table, to, inverse);
                   });
  return out;
}

}  // namespace md::rotary_embedding
