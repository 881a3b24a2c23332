#include "../ops/reduce/op.h"

#include "families.h"

namespace md::binding {
namespace {

// What the errors call the op, in the order of the enumerations.
constexpr const char* reductionNames[] = {"sum", "mean", "amax", "amin", "any", "all"};
constexpr const char* extremeNames[] = {"argmax", "argmin"};

/// reduce(kind, x, axes, keepdim)
void reduceAxes(Call& call) {
  const int32_t kind = call.integer(0);
  if (kind < 0 || kind >= static_cast<int32_t>(reduce::Reduction::count)) fail(ErrorKind::value, call.op, "unknown kind ", kind);
  call.emit(reduce::reduce(call.context(), static_cast<reduce::Reduction>(kind), call.tensor(1), call.dims(2), call.flag(3), reductionNames[kind]));
}

/// argExtreme(kind, x, axis, keepdim)
void argExtreme(Call& call) {
  const int32_t kind = call.integer(0);
  if (kind < 0 || kind >= static_cast<int32_t>(reduce::Extreme::count)) fail(ErrorKind::value, call.op, "unknown kind ", kind);
  call.emit(reduce::argExtreme(call.context(), static_cast<reduce::Extreme>(kind), call.tensor(1), call.integer64(2), call.flag(3), extremeNames[kind]));
}

}  // namespace

void registerReduce(Napi::Env env, Napi::Object exports, Environment& environment) {
  define(env, exports, environment, {Entry{"reduce", reduceAxes, Runs::everywhere}, Entry{"argExtreme", argExtreme, Runs::everywhere}});
}

}  // namespace md::binding
