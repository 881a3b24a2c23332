#include "../ops/optimizer/op.h"

#include "families.h"

namespace md::binding {
namespace {

/// The tensors of an Int32Array of slots.
std::vector<Tensor> tensorsAt(Call& call, size_t i) {
  const auto slots = call.value(i).As<Napi::Int32Array>();
  std::vector<Tensor> out;
  out.reserve(slots.ElementLength());
  for (size_t k = 0; k < slots.ElementLength(); k++) out.push_back(call.operand(slots[k]));
  return out;
}

/// adamwStep(parameters, grads, expAvgs, expAvgSqs, learningRate, beta1, beta2, eps, weightDecay, step, gradScale)
void adamwStep(Call& call) {
  const optimizer::AdamW options{call.number(4), call.number(5), call.number(6), call.number(7), call.number(8), call.integer64(9), call.number(10)};
  optimizer::adamwStep(call.context(), tensorsAt(call, 0), tensorsAt(call, 1), tensorsAt(call, 2), tensorsAt(call, 3), options, call.op);
}
/// emaUpdate(averages, tensors, decay)
void emaUpdate(Call& call) { optimizer::emaUpdate(call.context(), tensorsAt(call, 0), tensorsAt(call, 1), call.number(2), call.op); }
/// globalNorm(tensors) => number
Napi::Value globalNorm(Call& call) {
  return Napi::Number::New(call.napi(), optimizer::globalNorm(call.context(), tensorsAt(call, 0), call.op));
}

}  // namespace

void registerOptimizer(Napi::Env env, Napi::Object exports, Environment& environment) {
  // In place: a widened copy would be updated in vain.
  define(env, exports, environment,
         {Entry{"adamwStep", adamwStep, Runs::everywhere, Halves::stored}, Entry{"emaUpdate", emaUpdate, Runs::everywhere, Halves::stored}});
  define(env, exports, environment, {ValueEntry{"globalNorm", globalNorm, Runs::everywhere}});
}

}  // namespace md::binding
