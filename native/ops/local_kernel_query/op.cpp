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

void requireWeight(const Tensor& weight, DType dtype, const char* op) {
  requireDType(weight, dtype, op, "weight");
  requireRank(weight, 3, op, "weight");
}

}  // namespace

PairMap mapQueries(Context& context, const Tensor& queries, const Tensor& queryBatch, const Tensor& table, int64_t voxels, const voxel_hash::Grid& grid,
                   const char* op) {
  return gathered_gemm::mapPairsLater(context, voxel_hash::neighbours(context, queries, queryBatch, table, grid, op), voxels, op);
}

Tensor query(Context& context, const PairMap& hits, int64_t queries, const Tensor& means, const Tensor& weight, const char* op) {
  requireStoredFloat(means, op, "means");
  requireRank(means, 2, op, "means");
  requireWeight(weight, means.dtype, op);
  requireShape(means, {means.dim(0), weight.dim(2)}, op, "means");
  return gathered_gemm::multiply(context, hits, means, matricesOf(contiguous(context, weight, op)), nullptr, queries, op);
}

Tensor queryMeansGrad(Context& context, const PairMap& hits, int64_t voxels, const Tensor& weight, const Tensor& grad, const char* op) {
  requireStoredFloat(grad, op, "grad");
  requireRank(grad, 2, op, "grad");
  requireWeight(weight, grad.dtype, op);
  requireShape(grad, {grad.dim(0), weight.dim(1)}, op, "grad");
  return gathered_gemm::multiplyBack(context, hits, grad, transposedOf(contiguous(context, weight, op)), voxels, op);
}

Tensor queryWeightGrad(Context& context, const PairMap& hits, int64_t kernels, const Tensor& means, const Tensor& grad, const char* op) {
  requireStoredFloat(means, op, "means");
  requireRank(means, 2, op, "means");
  requireDType(grad, means.dtype, op, "grad");
  requireRank(grad, 2, op, "grad");
  Tensor weightGrad = empty(context, means.dtype, {kernels, grad.dim(1), means.dim(1)}, op);
  gathered_gemm::weightGrad(context, hits, means, grad, matricesOf(weightGrad), op);
  return weightGrad;
}

}  // namespace md::local_kernel_query
