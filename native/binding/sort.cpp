#include "../ops/sort/op.h"

#include "../ops/cumsum/op.h"
#include "families.h"

namespace md::binding {
namespace {

void emit(Call& call, sort::Sorted sorted) {
  call.emit(std::move(sorted.values));
  call.emit(std::move(sorted.indices));
}

/// sort(x, axis, descending)
void sortAxis(Call& call) { emit(call, sort::sort(call.context(), call.tensor(0), call.integer64(1), call.flag(2), call.op)); }

/// topk(x, k, axis, largest)
void topk(Call& call) {
  emit(call, sort::topk(call.context(), call.tensor(0), call.integer64(1), call.integer64(2), call.flag(3), call.op));
}

/// cumsum(x, axis, reverse)
void cumsumAxis(Call& call) { call.emit(cumsum::cumsum(call.context(), call.tensor(0), call.integer64(1), call.flag(2), call.op)); }

}  // namespace

void registerSort(Napi::Env env, Napi::Object exports, Environment& environment) {
  constexpr Runs all = Runs::everywhere;
  define(env, exports, environment, {Entry{"sort", sortAxis, all}, Entry{"topk", topk, all}, Entry{"cumsum", cumsumAxis, all}});
}

}  // namespace md::binding
