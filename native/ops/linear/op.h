// y = residual + act(x Wᵀ + b): one GEMM whose epilogue adds the bias, applies the activation and adds the residual while a
// tile is in registers.
#pragma once
#include "../matmul/op.h"

namespace md::linear {

using matmul::Activation;

/// What the gradient takes the derivative of the activation from.
enum class Saved { nothing, output, derivative };

/// relu's derivative can be read from its output, unless a residual was added to it.
constexpr Saved savedFor(Activation activation, bool residual) {
  if (activation == Activation::none) return Saved::nothing;
  return activation == Activation::relu && !residual ? Saved::output : Saved::derivative;
}

/// `saved` holds what linearGrad needs, empty where it needs nothing or the caller asked for nothing.
struct Outputs {
  Tensor y, saved;
};

/// x [..., in], weight [out, in], bias [out] or null, residual [..., out] or null, of a dtype that gemm takes. Where y itself
/// is saved, both share storage.
Outputs linear(Context& context, const Tensor& x, const Tensor& weight, const Tensor* bias, const Tensor* residual, Activation activation, bool save,
               const char* op);

struct Wanted {
  bool x, weight, bias;
};
/// Tensors that were not wanted are empty.
struct Gradients {
  Tensor x, weight, bias;
};

/// Gradients for the cotangent `grad` [..., out]. `saved` is null for Activation::none. That of a residual is `grad`. `earlier`, of
/// x's shape or null, is added to that of x.
Gradients linearGrad(Context& context, const Tensor& x, const Tensor& weight, const Tensor* saved, const Tensor& grad, const Tensor* earlier,
                     Activation activation, Wanted wanted, const char* op);

// Kernels of cpu.cpp.

/// Rows [begin, end): out = grad · saved, where out is not null; of relu, grad where saved is above 0. The sum of those rows to
/// columnSums (a scratch of 2 x cols), where it is not null.
MD_KERNEL(void, activationGradRows, DType dtype, Activation activation, int64_t begin, int64_t end, int64_t cols, const void* saved,
          const void* grad, void* out, void* columnSums)
/// out = the first `cols` numbers of each of `parts` scratches of activationGradRows, summed in order.
MD_KERNEL(void, sumParts, DType dtype, const void* columnSums, int64_t parts, int64_t cols, void* out)

}  // namespace md::linear
