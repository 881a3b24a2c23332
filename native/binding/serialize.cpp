#include "../ops/serialize/op.h"

#include "families.h"

namespace md::binding {
namespace {

/// serialize(coordinates, batch, curve, depth): code, order, inverse
void serializeRows(Call& call) {
  const int32_t curve = call.integer(2);
  if (curve < 0 || curve >= static_cast<int32_t>(serialize::Curve::count)) fail(ErrorKind::value, call.op, "unknown curve ", curve);
  serialize::Serialization out =
      serialize::serialize(call.context(), call.tensor(0), call.tensor(1), static_cast<serialize::Curve>(curve), call.integer64(3), call.op);
  call.emit(std::move(out.code));
  call.emit(std::move(out.order));
  call.emit(std::move(out.inverse));
}

}  // namespace

void registerSerialize(Napi::Env env, Napi::Object exports, Environment& environment) {
  define(env, exports, environment, {Entry{"serialize", serializeRows, Runs::everywhere}});
}

}  // namespace md::binding
