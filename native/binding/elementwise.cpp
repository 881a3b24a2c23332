#include <iterator>

#include "../ops/elementwise/op.h"

#include "families.h"

namespace md::binding {
namespace {

using elementwise::Binary;
using elementwise::Unary;

// What the kinds are called on every floor: errors name them.
constexpr const char* kUnaryNames[] = {
    "neg", "abs", "exp", "log", "sqrt", "rsqrt", "sin", "cos", "tanh", "sigmoid", "silu", "relu", "gelu", "geluTanh", "erf", "softplus", "square",
    "reciprocal", "sign", "floor", "ceil", "round", "trunc", "leakyRelu", "clamp", "powScalar", "addScalar", "mulScalar", "isFinite", "logicalNot"};
constexpr const char* kBinaryNames[] = {"add", "sub", "mul", "div", "pow", "maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge", "logicalAnd", "logicalOr"};
static_assert(std::size(kUnaryNames) == static_cast<size_t>(Unary::count) && std::size(kBinaryNames) == static_cast<size_t>(Binary::count));

template <class Kind>
Kind kindAt(const Call& call, size_t i) {
  const int32_t kind = call.integer(i);
  if (kind < 0 || kind >= static_cast<int32_t>(Kind::count)) fail(ErrorKind::value, call.op, "unknown kind ", kind);
  return static_cast<Kind>(kind);
}
constexpr const char* nameOf(Unary kind) { return kUnaryNames[static_cast<size_t>(kind)]; }
constexpr const char* nameOf(Binary kind) { return kBinaryNames[static_cast<size_t>(kind)]; }

void unary(Call& call) {
  const Unary kind = kindAt<Unary>(call, 0);
  call.emit(elementwise::unary(call.context(), kind, call.tensor(1), call.number(2), call.number(3), nameOf(kind)));
}
void unaryGrad(Call& call) {
  const Unary kind = kindAt<Unary>(call, 0);
  call.emit(elementwise::unaryGrad(call.context(), kind, call.tensor(1), call.tensor(2), call.number(3), call.number(4), nameOf(kind)));
}
void binary(Call& call) {
  const Binary kind = kindAt<Binary>(call, 0);
  call.emit(elementwise::binary(call.context(), kind, call.tensor(1), call.tensor(2), nameOf(kind)));
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
