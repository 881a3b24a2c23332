#include <cmath>

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

/// adamwStep(parameters, grads, expAvgs, expAvgSqs, beta1, beta2, eps, weightDecay, [learningRate, step, gradScale]), the
/// last a Float64Array of them or an Int32Array of their slots
void adamwStep(Call& call) {
  const std::vector<Tensor> parameters = tensorsAt(call, 0), grads = tensorsAt(call, 1), expAvgs = tensorsAt(call, 2), expAvgSqs = tensorsAt(call, 3);
  const optimizer::AdamWConstants constants{call.number(4), call.number(5), call.number(6), call.number(7)};
  const auto step = [&](const auto& values) {
    optimizer::adamwStep(call.context(), parameters, grads, expAvgs, expAvgSqs, constants, values, call.op);
    for (const auto* list : {&parameters, &expAvgs, &expAvgSqs}) {
      for (const Tensor& x : *list) call.written(x);
    }
  };
  if (call.value(8).As<Napi::TypedArray>().TypedArrayType() == napi_int32_array) {
    const std::vector<Tensor> values = tensorsAt(call, 8);
    return step(optimizer::AdamWTensors{values.at(0), values.at(1), values.at(2)});
  }
  if (call.environment().capturing) {
    fail(ErrorKind::unsupported, call.op, "has its step and learning rate from the host while a graph is captured, and replays would repeat them: expected tensors, as of a capturable AdamW");
  }
  const auto values = call.value(8).As<Napi::Float64Array>();
  if (!std::isfinite(values[1]) || values[1] != std::trunc(values[1])) fail(ErrorKind::value, call.op, "step is ", values[1], ", expected an integer");
  step(optimizer::AdamWNumbers{values[0], static_cast<int64_t>(values[1]), values[2]});
}
/// emaUpdate(averages, tensors, decay)
void emaUpdate(Call& call) {
  const std::vector<Tensor> averages = tensorsAt(call, 0);
  optimizer::emaUpdate(call.context(), averages, tensorsAt(call, 1), call.number(2), call.op);
  for (const Tensor& x : averages) call.written(x);
}
/// globalNorm(tensors)
void globalNorm(Call& call) { call.emit(optimizer::globalNorm(call.context(), tensorsAt(call, 0), call.op)); }

}  // namespace

void registerOptimizer(Napi::Env env, Napi::Object exports, Environment& environment) {
  // In place: a widened copy would be updated in vain.
  define(env, exports, environment,
         {Entry{"adamwStep", adamwStep, Runs::everywhere, Halves::stored}, Entry{"emaUpdate", emaUpdate, Runs::everywhere, Halves::stored},
          Entry{"globalNorm", globalNorm, Runs::everywhere}});
}

}  // namespace md::binding
