#include "op.h"

#include <utility>

#include "../voxel_hash/op.h"

namespace md::local_kernel_query {
namespace {

using gathered_gemm::Matrices;

Tensor withFirstAxesSwapped(Tensor x) {
  std::swap(x.shape[0], x.shape[1]);
  std::swap(x.stride[0], x.stride[1]);
  return x;
}

// Whether a weight [K, out, in] is a view of a convolution's, [out, K, in].
bool ofConvolution(const Tensor& weight) { return !weight.contiguous() && withFirstAxesSwapped(weight).contiguous(); }

// Either in its own memory order, as the K matrices that a product with [rows, in] takes.
Matrices matricesOf(Context& context, const Tensor& weight, const char* op) {
  const int64_t kernels = weight.dim(0), out = weight.dim(1), in = weight.dim(2);
  if (ofConvolution(weight)) return {withFirstAxesSwapped(weight), kernels, out, in, in, kernels * in, 1};
  return {contiguous(context, weight, op), kernels, out, in, out * in, in, 1};
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
  // Whatever else is wrong with the map is found where it is used.
  const int64_t blocks = (queries + gathered_gemm::kBlockRows - 1) / gathered_gemm::kBlockRows, groups = hits.starts.numel() - 1;
  if (blocks > 0 && groups % blocks == 0 && groups / blocks != weight.dim(0)) {
    fail(ErrorKind::shape, op, "weight has shape ", weight.shape.str(), ", expected [", groups / blocks, ",out,in] for the offsets of the map");
  }
  return gathered_gemm::multiply(context, hits, means, matricesOf(context, weight, op), nullptr, queries, op);
}

Gradients queryGrad(Context& context, const PairMap& hits, const Tensor& means, const Tensor& weight, const Tensor& grad, bool wantsMeans, bool wantsWeight,
                    const char* op) {
  requireOperands(means, weight, op);
  requireDType(grad, means.dtype, op, "grad");
  requireRank(grad, 2, op, "grad");
  requireShape(grad, {grad.dim(0), weight.dim(1)}, op, "grad");
  Gradients results;
  const Matrices m = matricesOf(context, weight, op), transposed{m.values, m.kernels, m.depth, m.columns, m.kernelStride, m.depthStride, m.columnStride};
  Matrices ofWeight = m;
  if (wantsWeight) {
    ofWeight.values = empty(context, means.dtype, m.values.shape, op);
    results.weight = ofConvolution(weight) ? withFirstAxesSwapped(ofWeight.values) : ofWeight.values;
  }
  results.means = gathered_gemm::multiplyGrad(context, hits, means, grad, wantsMeans ? &transposed : nullptr, wantsWeight ? &ofWeight : nullptr, op);
  return results;
}

}  // namespace md::local_kernel_query
