#include "../ops/subm_conv3d/op.h"

#include "families.h"

namespace md::binding {
namespace {

gathered_gemm::PairMap pairsAt(const Call& call, size_t first) { return {call.tensor(first), call.tensor(first + 1), call.tensor(first + 2)}; }

/// mapPairs(neighbours, inputs, roomy)
void mapPairs(Call& call) {
  gathered_gemm::PairMap map = gathered_gemm::mapPairs(call.context(), call.tensor(0), call.integer64(1), call.flag(2), call.op);
  call.emit(std::move(map.inputs));
  call.emit(std::move(map.outputs));
  call.emit(std::move(map.starts));
}

/// submConv3d(inputs, outputs, starts, x, weight, bias)
void submConv3d(Call& call) {
  call.emit(subm_conv3d::submConv3d(call.context(), pairsAt(call, 0), call.tensor(3), call.tensor(4), call.optional(5), call.op));
}

/// submConv3dGrad(inputs, outputs, starts, x, weight, grad, wantsX, wantsWeight): the wanted gradients.
void submConv3dGrad(Call& call) {
  subm_conv3d::Gradients out =
      subm_conv3d::submConv3dGrad(call.context(), pairsAt(call, 0), call.tensor(3), call.tensor(4), call.tensor(5), call.flag(6), call.flag(7), call.op);
  for (Tensor* gradient : {&out.x, &out.weight}) {
    if (gradient->storage) call.emit(std::move(*gradient));
  }
}

}  // namespace

void registerSubmConv3d(Napi::Env env, Napi::Object exports, Environment& environment) {
  constexpr Runs all = Runs::everywhere;
  constexpr Halves kernels = Halves::storedOnCuda;
  define(env, exports, environment,
         {Entry{"mapPairs", mapPairs, all}, Entry{"submConv3d", submConv3d, all, kernels}, Entry{"submConv3dGrad", submConv3dGrad, all, kernels}});
}

}  // namespace md::binding
