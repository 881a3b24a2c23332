#include "../ops/softmax/op.h"

#include "families.h"

namespace md::binding {
namespace {

/// softmax(x, axis, log)
void softmaxAxis(Call& call) {
  const bool log = call.flag(2);
  call.emit(softmax::softmax(call.context(), call.tensor(0), call.integer64(1), log, log ? "logSoftmax" : "softmax"));
}

/// softmaxGrad(y, grad, axis, log)
void softmaxGrad(Call& call) {
  call.emit(softmax::softmaxGrad(call.context(), call.tensor(0), call.tensor(1), call.integer64(2), call.flag(3), call.op));
}

}  // namespace

void registerSoftmax(Napi::Env env, Napi::Object exports, Environment& environment) {
  define(env, exports, environment, {Entry{"softmax", softmaxAxis, Runs::everywhere}, Entry{"softmaxGrad", softmaxGrad, Runs::everywhere}});
}

}  // namespace md::binding
