#include "op.h"

namespace md::subm_conv3d {
namespace {

using gathered_gemm::Matrices;

// [out, k, k, k, in] as K matrices [out, in].
Matrices matricesOf(const Tensor& weight) {
  const int64_t out = weight.dim(0), in = weight.dim(4), kernels = weight.dim(1) * weight.dim(2) * weight.dim(3);
  return {weight, kernels, out, in, in, kernels * in, 1};
}

void requireOperands(const Tensor& x, const Tensor& weight, const char* op) {
  requireStoredFloat(x, op, "x");
  requireRank(x, 2, op, "x");
  requireDType(weight, x.dtype, op, "weight");
  requireRank(weight, 5, op, "weight");
  const int64_t size = weight.dim(1);
  requireShape(weight, {weight.dim(0), size, size, size, weight.dim(4)}, op, "weight");
  requireShape(x, {x.dim(0), weight.dim(4)}, op, "x");
}

}  // namespace

Tensor submConv3d(Context& context, const PairMap& map, const Tensor& x, const Tensor& weight, const Tensor* bias, const char* op) {
  requireOperands(x, weight, op);
  if (bias) {
    requireDType(*bias, x.dtype, op, "bias");
    requireShape(*bias, {weight.dim(0)}, op, "bias");
  }
  return gathered_gemm::multiply(context, map, x, matricesOf(contiguous(context, weight, op)), bias, x.dim(0), op);
}

Gradients submConv3dGrad(Context& context, const PairMap& map, const Tensor& x, const Tensor& weight, const Tensor& grad, bool wantsX, bool wantsWeight,
                         const char* op) {
  requireOperands(x, weight, op);
  requireDType(grad, x.dtype, op, "grad");
  requireShape(grad, {x.dim(0), weight.dim(0)}, op, "grad");
  Gradients results;
  if (wantsWeight) results.weight = empty(context, x.dtype, weight.shape, op);
  const Matrices m = matricesOf(contiguous(context, weight, op)), ofWeight = matricesOf(wantsWeight ? results.weight : weight);
  const Matrices transposed{m.values, m.kernels, m.depth, m.columns, m.kernelStride, m.depthStride, m.columnStride, true};
  results.x = gathered_gemm::multiplyGrad(context, map, x, grad, wantsX ? &transposed : nullptr, wantsWeight ? &ofWeight : nullptr, op);
  return results;
}

}  // namespace md::subm_conv3d
