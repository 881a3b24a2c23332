#include "op.h"

#include "../voxel_hash/op.h"

namespace md::local_kernel_query {
namespace {

using gathered_gemm::Matrices;

// [K, out, in] as the K matrices that a product with [rows, in] takes.
Matrices matricesOf(const Tensor& weight) {
  const int64_t out = weight.dim(1), in = weight.dim(2);
  return {weight, weight.dim(0), out, in, out * in, in, 1};
}

Matrices transposedOf(const Tensor& weight) {
  const int64_t out = weight.dim(1), in = weight.dim(2);
  return {weight, weight.dim(0), in, out, out * in, 1, in};
}

void requireOperands(const Tensor& means, const Tensor& weight, const char* op) {
  requireStoredFloat(means, op, "means");
  requireRank(means, 2, op, "means");
  requireDType(weight, means.dtype, op, "weight");
  requireRank(weight, 3, op, "weight");
  requireShape(means, {means.dim(0), weight.dim(2)}, op, "means");
}

}  // namespace

PairMap mapQueries(Context& context, const Tensor& queries, const Tensor& queryBatch, const Tensor& table, int64_t voxels, const voxel_hash::Grid& grid,
                   const char* op) {
  return gathered_gemm::mapPairsLater(context, voxel_hash::neighbours(context, queries, queryBatch, table, grid, op), voxels, op);
}

Tensor query(Context& context, const PairMap& hits, int64_t queries, const Tensor& means, const Tensor& weight, const char* op) {
  requireOperands(means, weight, op);
  return gathered_gemm::multiply(context, hits, means, matricesOf(contiguous(context, weight, op)), nullptr, queries, op);
}

Gradients queryGrad(Context& context, const PairMap& hits, const Tensor& means, const Tensor& weight, const Tensor& grad, bool wantsMeans, bool wantsWeight,
                    const char* op) {
  requireOperands(means, weight, op);
  requireDType(grad, means.dtype, op, "grad");
  requireRank(grad, 2, op, "grad");
  requireShape(grad, {grad.dim(0), weight.dim(1)}, op, "grad");
  Gradients results;
  if (wantsWeight) results.weight = empty(context, means.dtype, weight.shape, op);
  const Matrices transposed = transposedOf(contiguous(context, weight, op)), ofWeight = matricesOf(wantsWeight ? results.weight : weight);
  results.means = gathered_gemm::multiplyGrad(context, hits, means, grad, wantsMeans ? &transposed : nullptr, wantsWeight ? &ofWeight : nullptr, op);
  return results;
}

}  // namespace md::local_kernel_query
