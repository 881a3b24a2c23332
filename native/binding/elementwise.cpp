#include "../ops/elementwise/op.h"

#include "families.h"

namespace md::binding {
namespace {

using elementwise::Binary;
using elementwise::Unary;

template <class Kind>
Kind kindAt(const Call& call, size_t i) {
  const int32_t kind = call.integer(i);
  if (kind < 0 || kind >= static_cast<int32_t>(Kind::count)) fail(ErrorKind::value, call.op, "unknown kind ", kind);
  return static_cast<Kind>(kind);
}

void unary(Call& call) {
  call.emit(elementwise::unary(call.context(), kindAt<Unary>(call, 0), call.tensor(1), call.number(2), call.number(3), call.op));
}
void unaryGrad(Call& call) {
  call.emit(elementwise::unaryGrad(call.context(), kindAt<Unary>(call, 0), call.tensor(1), call.tensor(2), call.number(3), call.number(4), call.op));
}
void binary(Call& call) {
  call.emit(elementwise::binary(call.context(), kindAt<Binary>(call, 0), call.tensor(1), call.tensor(2), call.op));
}
void where(Call& call) {
  call.emit(elementwise::where(call.context(), call.tensor(0), call.tensor(1), call.tensor(2), call.op));
}
void cast(Call& call) { call.emit(elementwise::cast(call.context(), call.tensor(0), call.dtype(1), call.op)); }
/// full(dtype, shape, value, device)
void full(Call& call) {
  call.onDevice(3);
  call.emit(elementwise::full(call.context(), call.dtype(0), call.dims(1), call.number(2), call.op));
}

}  // namespace

void registerElementwise(Napi::Env env, Napi::Object exports, Environment& environment) {
  constexpr Runs all = Runs::everywhere;
  define(env, exports, environment,
         {Entry{"unary", unary, all}, Entry{"unaryGrad", unaryGrad, all}, Entry{"binary", binary, all}, Entry{"where", where, all},
          Entry{"cast", cast, all, Halves::stored}, Entry{"full", full, all, Halves::stored}});
}

}  // namespace md::binding
