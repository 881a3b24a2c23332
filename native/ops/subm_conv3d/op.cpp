#include "op.h"

namespace md::subm_conv3d {
namespace {

using gathered_gemm::Matrices;

void requireWeight(const Tensor& weight, DType dtype, const char* op) {
  requireDType(weight, dtype, op, "weight");
  requireRank(weight, 5, op, "weight");
  const int64_t size = weight.dim(1);
  requireShape(weight, {weight.dim(0), size, size, size, weight.dim(4)}, op, "weight");
}

}  // namespace

Tensor submConv3d(Context& context, const PairMap& map, const Tensor& x, const Tensor& given, const Tensor* bias, const char* op) {
  requireStoredFloat(x, op, "x");
  requireRank(x, 2, op, "x");
  requireWeight(given, x.dtype, op);
  const int64_t out = given.dim(0), in = given.dim(4), kernels = given.dim(1) * given.dim(2) * given.dim(3);
  requireShape(x, {x.dim(0), in}, op, "x");
  if (bias) {
    requireDType(*bias, x.dtype, op, "bias");
    requireShape(*bias, {out}, op, "bias");
  }
  const Matrices weight{contiguous(context, given, op), kernels, out, in, in, kernels * in, 1};
  return gathered_gemm::multiply(context, map, x, weight, bias, x.dim(0), op);
}

Tensor submConv3dInputGrad(Context& context, const PairMap& map, const Tensor& given, const Tensor& grad, const char* op) {
  requireStoredFloat(grad, op, "grad");
  requireRank(grad, 2, op, "grad");
  requireWeight(given, grad.dtype, op);
  const int64_t out = given.dim(0), in = given.dim(4), kernels = given.dim(1) * given.dim(2) * given.dim(3);
  requireShape(grad, {grad.dim(0), out}, op, "grad");
  const Matrices weight{contiguous(context, given, op), kernels, in, out, in, 1, kernels * in, true};
  return gathered_gemm::multiply(context, map, grad, weight, nullptr, grad.dim(0), op);
}

Tensor submConv3dWeightGrad(Context& context, const PairMap& map, const Tensor& x, const Tensor& grad, int64_t size, const char* op) {
  requireStoredFloat(x, op, "x");
  requireRank(x, 2, op, "x");
  requireDType(grad, x.dtype, op, "grad");
  requireRank(grad, 2, op, "grad");
  requireShape(grad, {x.dim(0), grad.dim(1)}, op, "grad");
  const int64_t out = grad.dim(1), in = x.dim(1), kernels = size * size * size;
  Tensor weightGrad = empty(context, x.dtype, {out, size, size, size, in}, op);
  gathered_gemm::weightGrad(context, map, x, grad, {weightGrad, kernels, out, in, in, kernels * in, 1}, op);
  return weightGrad;
}

}  // namespace md::subm_conv3d
