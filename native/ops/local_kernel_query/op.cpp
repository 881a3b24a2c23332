#include "op.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>
#include <vector>

namespace md::local_kernel_query {
namespace {

constexpr int64_t kQueryGrain = 1 << 10;    // queries below which a second thread costs more than it brings
constexpr int64_t kMultiplyGrain = 1 << 16;  // multiply-adds, likewise
constexpr int64_t kWeightRows = 6;           // rows of a weight gradient's tile

void requireIndices(const Tensor& indices, int64_t count, int64_t limit, const char* op, const char* operand) {
  requireDType(indices, DType::i32, op, operand);
  requireShape(indices, {count}, op, operand);
  const int32_t* at = indices.data<int32_t>();
  for (int64_t i = 0; i < count; i++) {
    if (at[i] < 0 || at[i] >= limit) fail(ErrorKind::value, op, operand, "[", i, "] is ", at[i], ", expected 0 to ", limit - 1);
  }
}

// Contiguous and inside its bounds: the kernels follow these indices without looking.
HitMap requireHits(Context& context, const HitMap& given, int64_t queries, int64_t voxels, const char* op) {
  requireRank(given.queries, 1, op, "hitQueries");
  requireDType(given.offsets, DType::i32, op, "hitOffsets");
  requireRank(given.offsets, 1, op, "hitOffsets");
  const HitMap hits{contiguous(context, given.queries, op), contiguous(context, given.voxels, op), contiguous(context, given.offsets, op)};
  const int64_t count = hits.queries.dim(0), kernels = hits.offsets.dim(0) - 1;
  requireIndices(hits.queries, count, queries, op, "hitQueries");
  requireIndices(hits.voxels, count, voxels, op, "hitVoxels");
  const int32_t* at = hits.offsets.data<int32_t>();
  bool rising = kernels >= 0 && at[0] == 0 && at[kernels] == count;
  for (int64_t k = 0; k < kernels && rising; k++) rising = at[k] <= at[k + 1];
  if (!rising) fail(ErrorKind::value, op, "hitOffsets does not rise from 0 to the ", count, " hits");
  return hits;
}

void requireWeight(const Tensor& weight, const Tensor& offsets, DType dtype, const char* op) {
  requireDType(weight, dtype, op, "weight");
  requireRank(weight, 3, op, "weight");
  if (weight.dim(0) != offsets.dim(0) - 1) {
    fail(ErrorKind::shape, op, "weight has shape ", weight.shape.str(), ", expected ", offsets.dim(0) - 1, " kernel offsets");
  }
}

// target[to] += source[from] · matrix of the offset: [depth, columns] matrices given by their strides in weight.
Tensor multiplyHits(Context& context, const Pairs& pairs, const Tensor& source, const Tensor& weight, int64_t rows, int64_t depth,
                    int64_t columns, int64_t depthStride, int64_t columnStride, const char* op) {
  const DType dtype = source.dtype;
  const auto size = static_cast<int64_t>(itemSize(dtype));
  const int64_t matrix = MD_CALL(packedSize)(dtype, depth, columns);
  const Tensor packed = empty(context, dtype, {pairs.kernels, matrix}, op);
  parallelFor(context.pool, pairs.kernels, kMultiplyGrain / std::max<int64_t>(1, matrix) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; k++) {
      if (pairs.offsets[k] == pairs.offsets[k + 1]) continue;
      MD_CALL(packPanels)(dtype, static_cast<const char*>(weight.raw()) + k * depth * columns * size, depth, columns, depthStride, columnStride,
                          static_cast<char*>(packed.raw()) + k * matrix * size);
    }
  });
  Tensor target = empty(context, dtype, {rows, columns}, op);
  std::memset(target.raw(), 0, static_cast<size_t>(rows * columns * size));
  const int64_t work = pairs.offsets[pairs.kernels] * depth * columns;
  const int64_t parts = std::clamp<int64_t>(work / kMultiplyGrain, 1, context.pool.threads());
  parallelFor(context.pool, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; part++) {
      MD_CALL(accumulateHits)(dtype, pairs, source.raw(), packed.raw(), depth, columns, part, parts, target.raw());
    }
  });
  return target;
}

}  // namespace

HitMap mapHits(Context& context, const Tensor& given, int64_t voxels, const char* op) {
  requireDType(given, DType::i32, op, "neighbours");
  requireRank(given, 2, op, "neighbours");
  const Tensor neighbours = contiguous(context, given, op);
  const int64_t queries = neighbours.dim(0), kernels = neighbours.dim(1);
  if (neighbours.numel() > INT32_MAX) fail(ErrorKind::shape, op, "neighbours has shape ", given.shape.str(), ", expected fewer than 2^31 elements");
  const int64_t parts = std::clamp<int64_t>(queries / kQueryGrain, 1, context.pool.threads());
  std::vector<int32_t> next(static_cast<size_t>(parts * kernels), 0);
  const auto eachPart = [&](auto&& body) {
    parallelFor(context.pool, parts, 1, [&](int64_t first, int64_t last) {
      for (int64_t part = first; part < last; part++) {
        body(queries * part / parts, queries * (part + 1) / parts, next.data() + part * kernels);
      }
    });
  };
  std::atomic<bool> valid{true};
  eachPart([&](int64_t begin, int64_t end, int32_t* counts) {
    if (!MD_CALL(countHits)(neighbours.data<int32_t>(), kernels, voxels, begin, end, counts)) valid = false;
  });
  if (!valid) fail(ErrorKind::value, op, "neighbours holds an index outside -1 to ", voxels - 1);

  HitMap hits;
  hits.offsets = empty(context, DType::i32, {kernels + 1}, op);
  int32_t* offsets = hits.offsets.data<int32_t>();
  int32_t count = 0;
  for (int64_t k = 0; k < kernels; k++) {
    offsets[k] = count;
    for (int64_t part = 0; part < parts; part++) count += std::exchange(next[static_cast<size_t>(part * kernels + k)], count);
  }
  offsets[kernels] = count;
  hits.queries = empty(context, DType::i32, {count}, op);
  hits.voxels = empty(context, DType::i32, {count}, op);
  eachPart([&](int64_t begin, int64_t end, int32_t* place) {
    MD_CALL(emitHits)(neighbours.data<int32_t>(), kernels, begin, end, place, hits.queries.data<int32_t>(), hits.voxels.data<int32_t>());
  });
  return hits;
}

Tensor query(Context& context, const HitMap& given, int64_t queries, const Tensor& means, const Tensor& weight, const char* op) {
  requireFloat(means, op, "means");
  requireRank(means, 2, op, "means");
  const HitMap hits = requireHits(context, given, queries, means.dim(0), op);
  requireWeight(weight, hits.offsets, means.dtype, op);
  const int64_t in = weight.dim(2), out = weight.dim(1);
  requireShape(means, {means.dim(0), in}, op, "means");
  const Pairs pairs{hits.voxels.data<int32_t>(), hits.queries.data<int32_t>(), hits.offsets.data<int32_t>(), weight.dim(0)};
  return multiplyHits(context, pairs, contiguous(context, means, op), contiguous(context, weight, op), queries, in, out, 1, in, op);
}

Tensor queryMeansGrad(Context& context, const HitMap& given, int64_t voxels, const Tensor& weight, const Tensor& grad, const char* op) {
  requireFloat(grad, op, "grad");
  requireRank(grad, 2, op, "grad");
  const HitMap hits = requireHits(context, given, grad.dim(0), voxels, op);
  requireWeight(weight, hits.offsets, grad.dtype, op);
  const int64_t in = weight.dim(2), out = weight.dim(1);
  requireShape(grad, {grad.dim(0), out}, op, "grad");
  const Pairs pairs{hits.queries.data<int32_t>(), hits.voxels.data<int32_t>(), hits.offsets.data<int32_t>(), weight.dim(0)};
  return multiplyHits(context, pairs, contiguous(context, grad, op), contiguous(context, weight, op), voxels, out, in, in, 1, op);
}

Tensor queryWeightGrad(Context& context, const HitMap& given, const Tensor& means, const Tensor& grad, const char* op) {
  requireFloat(means, op, "means");
  requireRank(means, 2, op, "means");
  requireDType(grad, means.dtype, op, "grad");
  requireRank(grad, 2, op, "grad");
  const HitMap hits = requireHits(context, given, grad.dim(0), means.dim(0), op);
  const int64_t kernels = hits.offsets.dim(0) - 1, in = means.dim(1), out = grad.dim(1);
  const Tensor x = contiguous(context, means, op), g = contiguous(context, grad, op);
  Tensor weightGrad = empty(context, x.dtype, {kernels, out, in}, op);
  const Pairs pairs{hits.voxels.data<int32_t>(), hits.queries.data<int32_t>(), hits.offsets.data<int32_t>(), kernels};
  const int64_t blocks = (out + kWeightRows - 1) / kWeightRows;
  const int64_t blockWork = (hits.queries.dim(0) + kernels) * in * kWeightRows;
  parallelFor(context.pool, blocks, kMultiplyGrain / std::max<int64_t>(1, blockWork) + 1, [&](int64_t begin, int64_t end) {
    MD_CALL(weightGradRows)(x.dtype, pairs, x.raw(), g.raw(), in, out, begin * kWeightRows, std::min(out, end * kWeightRows), weightGrad.raw());
  });
  return weightGrad;
}

}  // namespace md::local_kernel_query
