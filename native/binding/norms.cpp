#include "../ops/batch_norm/op.h"
#include "../ops/group_norm/op.h"
#include "../ops/layer_norm/op.h"

#include "families.h"

namespace md::binding {
namespace {

/// layerNorm(x, weight, bias, scale, shift, axes, eps, save): y and, to save, mean and rstd
void layerNorm(Call& call) {
  const layer_norm::Operands operands{call.tensor(0), call.optional(1), call.optional(2), call.optional(3), call.optional(4), call.integer(5)};
  auto out = layer_norm::layerNorm(call.context(), operands, call.number(6), call.op);
  call.emit(std::move(out.y));
  if (!call.flag(7)) return;
  call.emitWide(std::move(out.mean));
  call.emitWide(std::move(out.rstd));
}

/// layerNormGrad(x, weight, bias, scale, mean, rstd, grad, earlier, axes, affine): dx; where affine, dWeight, dBias; with a scale dScale,
/// and dShift unless every row has its own
void layerNormGrad(Call& call) {
  const layer_norm::Operands operands{call.tensor(0), call.optional(1), call.optional(2), call.optional(3), nullptr, call.integer(8)};
  auto out = layer_norm::layerNormGrad(call.context(), operands, call.wide(4), call.wide(5), call.tensor(6), call.optional(7), call.flag(9), call.op);
  for (Tensor* gradient : {&out.x, &out.weight, &out.bias, &out.scale, &out.shift}) {
    if (gradient->storage) call.emit(std::move(*gradient));
  }
}

/// groupNorm(x, weight, bias, groups, eps): y, mean, rstd
void groupNorm(Call& call) {
  auto out = group_norm::groupNorm(call.context(), call.tensor(0), call.optional(1), call.optional(2), call.integer64(3), call.number(4), call.op);
  call.emit(std::move(out.y));
  call.emitWide(std::move(out.mean));
  call.emitWide(std::move(out.rstd));
}

/// groupNormGrad(x, weight, mean, rstd, grad, groups, affine): dx and, where affine, dWeight, dBias
void groupNormGrad(Call& call) {
  const bool affine = call.flag(6);
  auto out = group_norm::groupNormGrad(call.context(), call.tensor(0), call.optional(1), call.wide(2), call.wide(3), call.tensor(4),
                                       call.integer64(5), affine, call.op);
  call.emit(std::move(out.x));
  if (!affine) return;
  call.emit(std::move(out.weight));
  call.emit(std::move(out.bias));
}

/// batchNorm(x, weight, bias, mean, variance, eps): y, mean, variance
void batchNorm(Call& call) {
  auto out = batch_norm::batchNorm(call.context(), call.tensor(0), call.optional(1), call.optional(2), call.optionalWide(3), call.optionalWide(4),
                                   call.number(5), call.op);
  call.emit(std::move(out.y));
  call.emitWide(std::move(out.mean));
  call.emitWide(std::move(out.variance));
}

/// batchNormGrad(x, weight, mean, variance, grad, eps, fromBatch): dx, dWeight, dBias
void batchNormGrad(Call& call) {
  auto out = batch_norm::batchNormGrad(call.context(), call.tensor(0), call.optional(1), call.wide(2), call.wide(3), call.tensor(4),
                                       call.number(5), call.flag(6), call.op);
  call.emit(std::move(out.x));
  call.emit(std::move(out.weight));
  call.emit(std::move(out.bias));
}

}  // namespace

void registerNorms(Napi::Env env, Napi::Object exports, Environment& environment) {
  define(env, exports, environment,
         {Entry{"layerNorm", layerNorm, Runs::everywhere}, Entry{"layerNormGrad", layerNormGrad, Runs::everywhere},
          Entry{"groupNorm", groupNorm, Runs::everywhere}, Entry{"groupNormGrad", groupNormGrad, Runs::everywhere},
          Entry{"batchNorm", batchNorm, Runs::everywhere}, Entry{"batchNormGrad", batchNormGrad, Runs::everywhere}});
}

}  // namespace md::binding
