#include "../ops/matmul/op.h"

#include "../ops/linear/op.h"
#include "families.h"

namespace md::binding {
namespace {

using matmul::Activation;

Activation activationAt(const Call& call, size_t i) {
  const int32_t code = call.integer(i);
  if (code < 0 || code >= static_cast<int32_t>(Activation::count)) fail(ErrorKind::value, call.op, "unknown activation ", code);
  return static_cast<Activation>(code);
}

void matmul(Call& call) { call.emit(matmul::matmul(call.context(), call.tensor(0), call.tensor(1), call.op)); }

/// linear(x, weight, bias, residual, activation, save): y, and with `save` and an activation what linearGrad needs.
void linear(Call& call) {
  linear::Outputs out = linear::linear(call.context(), call.tensor(0), call.tensor(1), call.optional(2), call.optional(3), activationAt(call, 4),
                                       call.flag(5), call.op);
  call.emit(std::move(out.y));
  if (out.saved.storage) call.emit(std::move(out.saved));
}

/// linearGrad(x, weight, saved, grad, earlier, activation, wantsX, wantsWeight, wantsBias): the wanted gradients.
void linearGrad(Call& call) {
  linear::Gradients out = linear::linearGrad(call.context(), call.tensor(0), call.tensor(1), call.optional(2), call.tensor(3), call.optional(4),
                                             activationAt(call, 5), {call.flag(6), call.flag(7), call.flag(8)}, call.op);
  for (Tensor* gradient : {&out.x, &out.weight, &out.bias}) {
    if (gradient->storage) call.emit(std::move(*gradient));
  }
}

}  // namespace

void registerMatmul(Napi::Env env, Napi::Object exports, Environment& environment) {
  constexpr Runs all = Runs::everywhere;
  constexpr Halves kernels = Halves::storedOnCuda;
  define(env, exports, environment,
         {Entry{"matmul", matmul, all, kernels}, Entry{"linear", linear, all, kernels}, Entry{"linearGrad", linearGrad, all, kernels}});
}

}  // namespace md::binding
