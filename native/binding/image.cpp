// Ops on images [batch, channels, height, width].
#include "../ops/conv2d/op.h"
#include "../ops/interpolate/op.h"
#include "../ops/pool2d/op.h"

#include "families.h"

namespace md::binding {
namespace {

/// An Int32Array of seven: stride, padding and dilation for y and x, groups.
conv2d::Options convAt(const Call& call, size_t i) {
  const Dims v = call.dims(i);
  if (v.rank != 7) fail(ErrorKind::value, call.op, "found ", v.rank, " convolution options, expected 7");
  return {v[0], v[1], v[2], v[3], v[4], v[5], v[6]};
}

/// An Int32Array of six: kernel, stride and padding for y and x.
pool2d::Options poolAt(const Call& call, size_t i) {
  const Dims v = call.dims(i);
  if (v.rank != 6) fail(ErrorKind::value, call.op, "found ", v.rank, " pooling options, expected 6");
  return {v[0], v[1], v[2], v[3], v[4], v[5]};
}

/// conv2d(x, weight, bias, options)
void conv2dForward(Call& call) { call.emit(conv2d::conv2d(call.context(), call.tensor(0), call.tensor(1), call.optional(2), convAt(call, 3), call.op)); }
/// conv2dInputGrad(grad, weight, input shape, options)
void conv2dInputGrad(Call& call) {
  call.emit(conv2d::conv2dInputGrad(call.context(), call.tensor(0), call.tensor(1), call.dims(2), convAt(call, 3), call.op));
}
/// conv2dWeightGrad(grad, x, weight shape, options)
void conv2dWeightGrad(Call& call) {
  call.emit(conv2d::conv2dWeightGrad(call.context(), call.tensor(0), call.tensor(1), call.dims(2), convAt(call, 3), call.op));
}

/// maxPool2d(x, options): y and the chosen pixels
void maxPool2d(Call& call) {
  auto out = pool2d::maxPool2d(call.context(), call.tensor(0), poolAt(call, 1), call.op);
  call.emit(std::move(out.y));
  call.emit(std::move(out.indices));
}
/// maxPool2dGrad(grad, indices, input shape)
void maxPool2dGrad(Call& call) { call.emit(pool2d::maxPool2dGrad(call.context(), call.tensor(0), call.tensor(1), call.dims(2), call.op)); }
/// avgPool2d(x, options)
void avgPool2d(Call& call) { call.emit(pool2d::avgPool2d(call.context(), call.tensor(0), poolAt(call, 1), call.op)); }
/// avgPool2dGrad(grad, input shape, options)
void avgPool2dGrad(Call& call) { call.emit(pool2d::avgPool2dGrad(call.context(), call.tensor(0), call.dims(1), poolAt(call, 2), call.op)); }

/// interpolate(x, height, width, alignCorners)
void interpolateBilinear(Call& call) {
  call.emit(interpolate::bilinear(call.context(), call.tensor(0), call.integer64(1), call.integer64(2), call.flag(3), call.op));
}
/// interpolateGrad(grad, height, width, alignCorners)
void interpolateGrad(Call& call) {
  call.emit(interpolate::bilinearGrad(call.context(), call.tensor(0), call.integer64(1), call.integer64(2), call.flag(3), call.op));
}

}  // namespace

void registerImage(Napi::Env env, Napi::Object exports, Environment& environment) {
  constexpr Runs all = Runs::everywhere;
  define(env, exports, environment,
         {Entry{"conv2d", conv2dForward, all}, Entry{"conv2dInputGrad", conv2dInputGrad, all}, Entry{"conv2dWeightGrad", conv2dWeightGrad, all},
          Entry{"maxPool2d", maxPool2d, all}, Entry{"maxPool2dGrad", maxPool2dGrad, all}, Entry{"avgPool2d", avgPool2d, all},
          Entry{"avgPool2dGrad", avgPool2dGrad, all}, Entry{"interpolate", interpolateBilinear, all}, Entry{"interpolateGrad", interpolateGrad, all}});
}

}  // namespace md::binding
