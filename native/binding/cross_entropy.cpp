#include "../ops/cross_entropy/op.h"

#include "families.h"

namespace md::binding {
namespace {

using cross_entropy::Mode;

Mode modeAt(const Call& call, size_t i) {
  const int32_t mode = call.integer(i);
  if (mode < 0 || mode >= static_cast<int32_t>(Mode::count)) fail(ErrorKind::value, call.op, "unknown reduction ", mode);
  return static_cast<Mode>(mode);
}

/// crossEntropy(logits, target, smoothing, reduction): loss and, for the gradient, what normalizes each item
void crossEntropy(Call& call) {
  auto [loss, normalizers] = cross_entropy::crossEntropy(call.context(), call.tensor(0), call.tensor(1), call.number(2), modeAt(call, 3), call.op);
  call.emit(std::move(loss));
  call.emitWide(std::move(normalizers));
}

/// crossEntropyGrad(logits, target, normalizers, grad, smoothing, reduction)
void crossEntropyGrad(Call& call) {
  call.emit(cross_entropy::crossEntropyGrad(call.context(), call.tensor(0), call.tensor(1), call.wide(2), call.tensor(3), call.number(4),
                                            modeAt(call, 5), call.op));
}

}  // namespace

void registerCrossEntropy(Napi::Env env, Napi::Object exports, Environment& environment) {
  define(env, exports, environment, {Entry{"crossEntropy", crossEntropy, Runs::everywhere}, Entry{"crossEntropyGrad", crossEntropyGrad, Runs::everywhere}});
}

}  // namespace md::binding
