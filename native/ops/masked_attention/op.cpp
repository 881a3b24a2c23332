#include "op.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <tuple>

#include "cuda.h"
#include "plan.h"

namespace md::masked_attention {
namespace {

constexpr int64_t kBlocksToPack = 2;  // query blocks that repay a copy of the keys

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

/// How many tokens have keys of their own.
int64_t requireOwn(const Tensor& q, const Mask& mask, const Options& options, const char* op) {
  if (!options.own) return 0;
  const auto& [k, v] = *options.own;
  if (mask.kind != MaskKind::level2) fail(ErrorKind::value, op, "own came with another mask than level2");
  if (options.k.weight || options.k.rotary) fail(ErrorKind::value, op, "own came with kNorm or kRotary, expected keys that are normed and rotated");
  if (q.device.type == DeviceType::cuda) fail(ErrorKind::unsupported, op, "own came on a CUDA device, expected all keys in k");
  const int64_t tokens = mask.samples * mask.tokensPerSample;
  for (const auto& [operand, name] : {std::pair{&k, "own.k"}, {&v, "own.v"}}) {
    requireDType(*operand, q.dtype, op, name);
    requireShape(*operand, {q.shape[0], q.shape[1], tokens, q.shape[3]}, op, name);
  }
  return tokens;
}

Sizes checkOperands(const Tensor& q, const Tensor& k, const Tensor& v, const Mask& mask, const Options& options, const char* op) {
  requireStoredFloat(q, op, "q");
  requireDType(k, q.dtype, op, "k");
  requireDType(v, q.dtype, op, "v");
  requireRank(q, 4, op, "q");
  requireRank(k, 4, op, "k");
  if (k.shape[0] != q.shape[0] || k.shape[1] != q.shape[1] || k.shape[3] != q.shape[3]) {
    fail(ErrorKind::shape, op, "k has shape ", k.shape.str(), ", expected [", q.shape[0], ",", q.shape[1], ",*,", q.shape[3], "] to match q");
  }
  requireShape(v, k.shape, op, "v");
  if (!std::isfinite(options.scale)) fail(ErrorKind::value, op, "scale is ", options.scale, ", expected a finite number");
  if (q.device.type == DeviceType::cuda && q.shape[3] > kMostHeadDim) {
    fail(ErrorKind::shape, op, "q has shape ", q.shape.str(), ", expected heads of at most ", kMostHeadDim, " on a CUDA device");
  }
  if (!(options.p >= 0 && options.p < 1)) fail(ErrorKind::value, op, "p is ", options.p, ", expected 0 <= p < 1");
  const double eps = q.dtype == DType::f64 ? options.eps : static_cast<double>(static_cast<float>(options.eps));
  if (!(eps > 0 && std::isfinite(eps))) fail(ErrorKind::value, op, "eps is ", options.eps, ", expected a positive number of the dtype");
  return {q.shape[0], q.shape[1], q.shape[2], k.shape[2] + requireOwn(q, mask, options, op), q.shape[3]};
}

/// Contiguous copies of the tensors of a preparation, and what kernels see of them.
class Prepared {
 public:
  Prepared(Context& context, const RowPreparation& from, const Sizes& sizes, DType dtype, int64_t tokens, const Options& options,
           const char* side, const char* op) {
    const std::string name = side;
    view.eps = options.eps;
    view.rotateFirst = options.rotateFirst;
    if (from.bias && !from.weight) fail(ErrorKind::value, op, name + "Norm has a bias without a weight");
    for (const auto& [given, kept, pointer, part] :
         {std::tuple{from.weight, &weight, &view.weight, "Norm.weight"}, {from.bias, &bias, &view.bias, "Norm.bias"}}) {
      if (!given) continue;
      requireDType(*given, dtype, op, (name + part).c_str());
      requireShape(*given, {sizes.headDim}, op, (name + part).c_str());
      *kept = contiguous(context, *given, op);
      *pointer = kept->raw();
    }
    if (!from.rotary) return;
    const Tensor& table = *from.rotary;
    requireDType(table, dtype, op, (name + "Rotary").c_str());
    const bool batched = table.rank() == 4 && (table.shape[0] == sizes.batch || table.shape[0] == 1);
    if ((!batched && table.rank() != 3) || table.dim(-3) != tokens || table.dim(-1) != 2 || 2 * table.dim(-2) > sizes.headDim) {
      fail(ErrorKind::shape, op, name, "Rotary has shape ", table.shape.str(), ", expected [", sizes.batch, ",", tokens,
           ",pairs,2] with at most ", sizes.headDim / 2, " pairs");
    }
    rotary = contiguous(context, table, op);
    view.rotary = rotary.raw();
    view.pairs = table.dim(-2);
    view.rotaryToken = 2 * view.pairs;
    view.rotaryBatch = batched && table.shape[0] > 1 ? tokens * view.rotaryToken : 0;
  }

  Preparation view;

 private:
  Tensor weight, bias, rotary;
};

Dropout dropoutOf(const Options& options) {
  const auto threshold = static_cast<uint32_t>(std::lround(options.p * 65536));
  if (threshold == 0) return {};
  // Of the probability that 16 bits give, so that the mean is kept; at least one of them survives.
  const uint32_t bounded = std::min(threshold, 65535u);
  return {bounded, 65536.0 / (65536 - bounded), options.stream.key, options.stream.counter};
}

/// Gradients of prepared rows, which `grad` holds, become those of x; returns those of weight and bias.
std::pair<Tensor, Tensor> prepareGrad(Context& context, const Preparation& preparation, const Tensor& x, const Tensor& grad, const char* op) {
  constexpr int64_t kBlock = 256;
  std::pair<Tensor, Tensor> sums;
  if (preparation.weight) {
    for (Tensor* sum : {&sums.first, &sums.second}) *sum = empty(context, computedDType(x.dtype), {x.shape[3]}, op);
  }
  if (context.onCuda()) {
    void* const dWeight = preparation.weight ? sums.first.raw() : nullptr;
    void* const dBias = preparation.weight ? sums.second.raw() : nullptr;
    prepareGradCuda(context, x, preparation, grad, dWeight, dBias, op);
    return sums;
  }
  const int64_t heads = x.shape[1], tokens = x.shape[2], headDim = x.shape[3], rows = x.shape[0] * heads * tokens;
  const int64_t blocks = (rows + kBlock - 1) / kBlock;
  const int64_t bytes = static_cast<int64_t>(itemSize(x.dtype)), ownBytes = MD_CALL(prepareGradScratch)(x.dtype, headDim) * bytes;
  const int64_t threads = context.pool.threads();
  const Tensor affine = empty(context, x.dtype, {blocks, 2, headDim}, op), scratch = empty(context, DType::u8, {threads, ownBytes}, op);
  const auto at = [base = affine.data<char>(), rowBytes = headDim * bytes](int64_t block, int64_t part) { return base + (2 * block + part) * rowBytes; };
  const int64_t parts = partsOf(context.pool, blocks, 1);
  shareOutLater(context.pool, parts, [=, dtype = x.dtype, from = rowsOf(x), to = rowsOf(grad), scratch = scratch.data<char>()](int64_t part, int64_t thread) {
    char* const own = scratch + thread * ownBytes;
    for (int64_t i = cutAt(blocks, part, parts, threads); i < cutAt(blocks, part + 1, parts, threads); i++) {
      MD_CALL(prepareGradRows)(dtype, headDim, heads, tokens, preparation, from, to, i * kBlock, std::min(rows, (i + 1) * kBlock), at(i, 0), own);
    }
  });
  if (!preparation.weight) return sums;
  dispatchFloat(x.dtype, op, [&](auto tag) {
    using T = typename decltype(tag)::type;
    shareOutLater(context.pool, 1, [=, weights = sums.first.data<T>(), biases = sums.second.data<T>()](int64_t, int64_t) {
      for (int64_t d = 0; d < headDim; d++) {
        double weight = 0, bias = 0;
        for (int64_t i = 0; i < blocks; i++) {
          weight += static_cast<double>(reinterpret_cast<const T*>(at(i, 0))[d]);
          bias += static_cast<double>(reinterpret_cast<const T*>(at(i, 1))[d]);
        }
        weights[d] = static_cast<T>(weight);
        biases[d] = static_cast<T>(bias);
      }
    });
  });
  return sums;
}

/// Operands as kernels read them.
struct Operands {
  Tensor q;
  Keys keys, own;

  Operands(Context& context, const Tensor& q, const Tensor& k, const Tensor& v, const Options& options, const char* op)
      : q(withUnitRows(context, q, op)), keys{withUnitRows(context, k, op), withUnitRows(context, v, op)} {
    if (options.own) own = {withUnitRows(context, options.own->k, op), withUnitRows(context, options.own->v, op)};
  }
};

KeyRows keyRowsOf(const Tensor& own, const Tensor& others) {
  if (!own.storage) return {{}, rowsOf(others), 0};
  return {rowsOf(own), rowsOf(others, own.shape[2]), own.shape[2]};
}

Problem describe(const Operands& operands, const Sizes& sizes, const Plan& plan, const Options& options, const Prepared& prepareQ,
                 const Prepared& prepareK) {
  const auto& [q, keys, own] = operands;
  return {q.dtype,   sizes.batch,                sizes.heads,                sizes.queries, sizes.keys,    sizes.headDim, options.scale, plan.predicate,
          rowsOf(q), keyRowsOf(own.k, keys.k), keyRowsOf(own.v, keys.v), prepareQ.view, prepareK.view, dropoutOf(options)};
}

/// Gradients of the prepared rows of q and k, and of v.
void backwardCpu(Context& context, const BackwardProblem& problem, const std::shared_ptr<const Plan>& plan, const Sizes& sizes, const char* op) {
  const int64_t threads = context.pool.threads();
  const auto cuts = std::make_shared<const std::vector<Cut>>(partition(plan->keys, sizes, threads));
  const auto parts = static_cast<int64_t>(cuts->size()) - 1;
  const bool sharesUnits = std::any_of(cuts->begin(), cuts->end(), [](const Cut& cut) { return cut.block > 0; });
  const int64_t elements = MD_CALL(backwardWorkspace)(problem);
  const Tensor workspace = empty(context, problem.dtype, {std::min(parts, threads), elements}, op);
  const Tensor shared = empty(context, problem.dtype, {parts, sharesUnits ? problem.blocks.mostTokens * problem.headDim : 0}, op);
  const auto rowsIn = [](const Tensor& space) {
    return [base = space.data<char>(), bytes = space.dim(1) * static_cast<int64_t>(itemSize(space.dtype))](int64_t row) { return base + row * bytes; };
  };
  shareOutLater(context.pool, parts, [=, plan = plan, own = rowsIn(workspace), sharedOf = rowsIn(shared)](int64_t part, int64_t thread) {
    const auto at = static_cast<size_t>(part);
    MD_CALL(backwardPart)(problem, (*cuts)[at], (*cuts)[at + 1], own(thread), sharedOf(part));
  });
  if (!sharesUnits) return;
  shareOutLater(context.pool, 1, [=, plan = plan, sharedOf = rowsIn(shared)](int64_t, int64_t) {
    for (int64_t p = 1; p < parts; p++) {
      const Cut& begin = (*cuts)[static_cast<size_t>(p)];
      if (begin.block > 0) MD_CALL(addShared)(problem, begin.unit, sharedOf(p));
    }
  });
}

}  // namespace

Forward forward(Context& context, const Tensor& q0, const Tensor& k0, const Tensor& v0, const Mask& mask, const Options& options, const char* op) {
  const Sizes sizes = checkOperands(q0, k0, v0, mask, options, op);
  const auto plan = std::make_shared<const Plan>(masked_attention::plan(mask, sizes, op));
  const Operands operands(context, q0, k0, v0, options, op);
  const Tensor& q = operands.q;
  const Prepared prepareQ(context, options.q, sizes, computedDType(q.dtype), sizes.queries, options, "q", op);
  const Prepared prepareK(context, options.k, sizes, computedDType(q.dtype), sizes.keys, options, "k", op);
  Forward result{emptyHeads(context, q.dtype, sizes.batch, sizes.heads, sizes.queries, sizes.headDim, op),
                 empty(context, computedDType(q.dtype), {sizes.batch, sizes.heads, sizes.queries}, op)};
  const Problem described = describe(operands, sizes, *plan, options, prepareQ, prepareK);
  if (context.onCuda()) {
    forwardCuda(context, planCuda(context, q.dtype), described, plan->queries, rowsOf(result.out), result.logSumExp.raw(), op);
    return result;
  }
  const int64_t blocksToPack = prepareK.view.any() ? 0 : kBlocksToPack;
  int64_t mostPacked = 0;
  for (const Segment& segment : plan->queries.segments) {
    if (segment.blocks() >= blocksToPack) mostPacked = std::max(mostPacked, segment.tokens());
  }
  const ForwardProblem problem{described, plan->queries.view(), blocksToPack, mostPacked, rowsOf(result.out),
                               result.logSumExp.raw()};
  const int64_t threads = context.pool.threads();
  std::vector<Cut> cuts = partition(plan->queries, sizes, threads);
  const auto parts = static_cast<int64_t>(cuts.size()) - 1;
  const int64_t elements = MD_CALL(forwardWorkspace)(problem);
  const Tensor workspace = empty(context, q.dtype, {std::min(parts, threads), elements}, op);
  shareOutLater(context.pool, parts, [=, plan = plan, cuts = std::move(cuts), base = workspace.data<char>(), dtype = q.dtype](int64_t part, int64_t thread) {
    char* space = base + static_cast<size_t>(thread * elements) * itemSize(dtype);
    MD_CALL(forwardPart)(problem, cuts[static_cast<size_t>(part)], cuts[static_cast<size_t>(part) + 1], space);
  });
  return result;
}

Gradients backward(Context& context, const Tensor& q0, const Tensor& k0, const Tensor& v0, const Forward& saved, const Tensor& grad0,
                   const Mask& mask, const Options& options, const char* op) {
  const Sizes sizes = checkOperands(q0, k0, v0, mask, options, op);
  const auto [batch, heads, queries, keys, headDim] = sizes;
  for (const auto& [operand, name] : {std::pair{&saved.out, "out"}, {&grad0, "grad"}}) {
    requireDType(*operand, q0.dtype, op, name);
    requireShape(*operand, q0.shape, op, name);
  }
  requireDType(saved.logSumExp, computedDType(q0.dtype), op, "logSumExp");
  requireShape(saved.logSumExp, {batch, heads, queries}, op, "logSumExp");
  const auto plan = std::make_shared<const Plan>(masked_attention::plan(mask, sizes, op));
  const Operands operands(context, q0, k0, v0, options, op);
  const auto& [q, given, own] = operands;
  const Tensor out = withUnitRows(context, saved.out, op), grad = withUnitRows(context, grad0, op);
  const Tensor logSumExp = contiguous(context, saved.logSumExp, op);
  const Prepared prepareQ(context, options.q, sizes, computedDType(q.dtype), queries, options, "q", op);
  const Prepared prepareK(context, options.k, sizes, computedDType(q.dtype), keys, options, "k", op);
  Gradients result;
  result.q = emptyHeads(context, q.dtype, batch, heads, queries, headDim, op);
  const auto emptyKeys = [&](int64_t tokens) { return emptyHeads(context, q.dtype, batch, heads, tokens, headDim, op); };
  result.k = emptyKeys(given.k.shape[2]);
  result.v = emptyKeys(given.k.shape[2]);
  if (options.own) result.own = {emptyKeys(own.k.shape[2]), emptyKeys(own.k.shape[2])};
  const Problem described = describe(operands, sizes, *plan, options, prepareQ, prepareK);
  const BackwardRows rows{rowsOf(out), rowsOf(grad), logSumExp.raw(), rowsOf(result.q), keyRowsOf(result.own.k, result.k), keyRowsOf(result.own.v, result.v)};
  if (context.onCuda()) {
    backwardCuda(context, planCuda(context, q.dtype), described, *plan, rows, op);
  } else {
    backwardCpu(context, {described, rows, plan->keys.view()}, plan, sizes, op);
  }
  if (prepareQ.view.any()) std::tie(result.qWeight, result.qBias) = prepareGrad(context, prepareQ.view, q, result.q, op);
  if (prepareK.view.any()) std::tie(result.kWeight, result.kBias) = prepareGrad(context, prepareK.view, given.k, result.k, op);
  return result;
}

}  // namespace md::masked_attention
