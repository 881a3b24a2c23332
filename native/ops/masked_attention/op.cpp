#include "op.h"

#include <cmath>
#include <cstring>

#include "plan.h"

namespace md::masked_attention {
namespace {

/// [B, H, T, D] in the memory order [B, T, H, D]: merging the heads afterwards copies nothing.
Tensor emptyHeads(Context& context, DType dtype, int64_t batch, int64_t heads, int64_t tokens, int64_t headDim, const char* op) {
  Tensor out = empty(context, dtype, {batch, tokens, heads, headDim}, op);
  std::swap(out.shape[1], out.shape[2]);
  std::swap(out.stride[1], out.stride[2]);
  return out;
}

/// Kernels read rows of unit stride.
Tensor withUnitRows(Context& context, const Tensor& x, const char* op) {
  return x.stride[3] == 1 || x.shape[3] == 1 ? x : contiguous(context, x, op);
}

Rows rowsOf(const Tensor& x) { return {x.raw(), x.stride[0], x.stride[1], x.stride[2]}; }

Sizes checkOperands(const Tensor& q, const Tensor& k, const Tensor& v, double scale, const char* op) {
  requireFloat(q, op, "q");
  requireDType(k, q.dtype, op, "k");
  requireDType(v, q.dtype, op, "v");
  requireRank(q, 4, op, "q");
  requireRank(k, 4, op, "k");
  if (k.shape[0] != q.shape[0] || k.shape[1] != q.shape[1] || k.shape[3] != q.shape[3]) {
    fail(ErrorKind::shape, op, "k has shape ", k.shape.str(), ", expected [", q.shape[0], ",", q.shape[1], ",*,", q.shape[3], "] to match q");
  }
  requireShape(v, k.shape, op, "v");
  if (!std::isfinite(scale)) fail(ErrorKind::value, op, "scale is ", scale, ", expected a finite number");
  return {q.shape[0], q.shape[1], q.shape[2], k.shape[2], q.shape[3]};
}

Problem describe(const Tensor& q, const Tensor& k, const Tensor& v, const Sizes& sizes, const Plan& plan, double scale) {
  return {q.dtype, sizes.batch, sizes.heads, sizes.queries, sizes.keys, sizes.headDim, scale, plan.predicate, rowsOf(q), rowsOf(k), rowsOf(v)};
}

}  // namespace

Forward forward(Context& context, const Tensor& q0, const Tensor& k0, const Tensor& v0, const Mask& mask, double scale, const char* op) {
  const Sizes sizes = checkOperands(q0, k0, v0, scale, op);
  const Plan plan = masked_attention::plan(mask, sizes, op);
  const Tensor q = withUnitRows(context, q0, op), k = withUnitRows(context, k0, op), v = withUnitRows(context, v0, op);
  Forward result{emptyHeads(context, q.dtype, sizes.batch, sizes.heads, sizes.queries, sizes.headDim, op),
                 empty(context, q.dtype, {sizes.batch, sizes.heads, sizes.queries}, op)};
  const ForwardProblem problem{describe(q, k, v, sizes, plan, scale), plan.queries.view(), plan.packKeys, rowsOf(result.out),
                               result.logSumExp.raw()};
  const std::vector<Cut> cuts = partition(plan.queries, sizes, context.pool.threads());
  const auto parts = static_cast<int64_t>(cuts.size()) - 1;
  const int64_t elements = MD_CALL(forwardWorkspace)(problem);
  const Tensor workspace = empty(context, q.dtype, {parts, elements}, op);
  parallelFor(context.pool, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; p++) {
      char* space = static_cast<char*>(workspace.raw()) + static_cast<size_t>(p * elements) * itemSize(q.dtype);
      MD_CALL(forwardPart)(problem, cuts[static_cast<size_t>(p)], cuts[static_cast<size_t>(p) + 1], space);
    }
  });
  return result;
}

Gradients backward(Context& context, const Tensor& q0, const Tensor& k0, const Tensor& v0, const Forward& saved, const Tensor& grad0,
                   const Mask& mask, double scale, const char* op) {
  const Sizes sizes = checkOperands(q0, k0, v0, scale, op);
  const auto [batch, heads, queries, keys, headDim] = sizes;
  for (const auto& [operand, name] : {std::pair{&saved.out, "out"}, {&grad0, "grad"}}) {
    requireDType(*operand, q0.dtype, op, name);
    requireShape(*operand, q0.shape, op, name);
  }
  requireDType(saved.logSumExp, q0.dtype, op, "logSumExp");
  requireShape(saved.logSumExp, {batch, heads, queries}, op, "logSumExp");
  const Plan plan = masked_attention::plan(mask, sizes, op);
  const Tensor q = withUnitRows(context, q0, op), k = withUnitRows(context, k0, op), v = withUnitRows(context, v0, op);
  const Tensor out = withUnitRows(context, saved.out, op), grad = withUnitRows(context, grad0, op);
  const Tensor logSumExp = contiguous(context, saved.logSumExp, op);
  Gradients result{emptyHeads(context, q.dtype, batch, heads, queries, headDim, op), emptyHeads(context, q.dtype, batch, heads, keys, headDim, op),
                   emptyHeads(context, q.dtype, batch, heads, keys, headDim, op)};
  const BackwardProblem problem{describe(q, k, v, sizes, plan, scale), plan.keys.view(), rowsOf(out), rowsOf(grad), logSumExp.raw(),
                                rowsOf(result.q), rowsOf(result.k), rowsOf(result.v)};
  const std::vector<Cut> cuts = partition(plan.keys, sizes, context.pool.threads());
  const auto parts = static_cast<int64_t>(cuts.size()) - 1;
  const int64_t elements = MD_CALL(backwardWorkspace)(problem), sharedElements = queries * headDim;
  const Tensor workspace = empty(context, q.dtype, {parts, elements + sharedElements}, op);
  const auto spaceOf = [&](int64_t p) {
    return static_cast<char*>(workspace.raw()) + static_cast<size_t>(p * (elements + sharedElements)) * itemSize(q.dtype);
  };
  const auto sharedOf = [&](int64_t p) { return spaceOf(p) + static_cast<size_t>(elements) * itemSize(q.dtype); };
  parallelFor(context.pool, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; p++) {
      MD_CALL(backwardPart)(problem, cuts[static_cast<size_t>(p)], cuts[static_cast<size_t>(p) + 1], spaceOf(p), sharedOf(p));
    }
  });
  for (int64_t p = 1; p < parts; p++) {
    const Cut& begin = cuts[static_cast<size_t>(p)];
    if (begin.block > 0) MD_CALL(addShared)(problem, begin.head, sharedOf(p));
  }
  return result;
}

}  // namespace md::masked_attention
