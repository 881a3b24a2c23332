#include "../ops/index/op.h"

#include <vector>

#include "families.h"

namespace md::binding {
namespace {

/// cat(slots: Int32Array, axis)
void cat(Call& call) {
  const auto slots = call.value(0).As<Napi::Int32Array>();
  std::vector<Tensor> parts;
  for (size_t i = 0; i < slots.ElementLength(); i++) parts.push_back(call.operand(slots[i]));
  call.emit(index::cat(call.context(), parts, call.integer64(1), call.op));
}

/// indexSelect(x, index, axis)
void indexSelect(Call& call) {
  call.emit(index::indexSelect(call.context(), call.tensor(0), call.tensor(1), call.integer64(2), call.op));
}

/// indexAdd(x, index, source, axis)
void indexAdd(Call& call) {
  call.emit(index::indexAdd(call.context(), call.tensor(0), call.tensor(1), call.tensor(2), call.integer64(3), call.op));
}

/// indexSelectGrad(grad, index, extent, axis)
void indexSelectGrad(Call& call) {
  call.emit(index::indexSelectGrad(call.context(), call.tensor(0), call.tensor(1), call.integer64(2), call.integer64(3), call.op));
}

/// gather(x, index, axis)
void gather(Call& call) { call.emit(index::gather(call.context(), call.tensor(0), call.tensor(1), call.integer64(2), call.op)); }

/// scatterAdd(x, index, source, axis)
void scatterAdd(Call& call) {
  call.emit(index::scatterAdd(call.context(), call.tensor(0), call.tensor(1), call.tensor(2), call.integer64(3), call.op));
}

/// gatherGrad(grad, index, shape, axis)
void gatherGrad(Call& call) {
  call.emit(index::gatherGrad(call.context(), call.tensor(0), call.tensor(1), call.dims(2), call.integer64(3), call.op));
}

/// oneHot(index, classes, dtype)
void oneHot(Call& call) { call.emit(index::oneHot(call.context(), call.tensor(0), call.integer64(1), call.dtype(2), call.op)); }

}  // namespace

void registerIndex(Napi::Env env, Napi::Object exports, Environment& environment) {
  constexpr Runs all = Runs::everywhere;
  constexpr Halves bits = Halves::stored;
  define(env, exports, environment,
         {Entry{"cat", cat, all, bits}, Entry{"indexSelect", indexSelect, all, bits}, Entry{"indexAdd", indexAdd, all}, Entry{"indexSelectGrad", indexSelectGrad, all},
          Entry{"gather", gather, all, bits}, Entry{"scatterAdd", scatterAdd, all}, Entry{"gatherGrad", gatherGrad, all}, Entry{"oneHot", oneHot, all}});
}

}  // namespace md::binding
