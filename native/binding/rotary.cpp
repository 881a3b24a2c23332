#include "../ops/rotary_embedding/op.h"

#include "families.h"

namespace md::binding {
namespace {

void rotaryTable(Call& call) {
  call.emit(rotary_embedding::table(call.context(), call.tensor(0), call.integer64(1), call.number(2), call.number(3), call.op));
}
void applyRotary(Call& call) {
  call.emit(rotary_embedding::apply(call.context(), call.tensor(0), call.tensor(1), call.flag(2), call.op));
}

}  // namespace

void registerRotary(Napi::Env env, Napi::Object exports, Environment& environment) {
  define(env, exports, environment, {Entry{"rotaryTable", rotaryTable, Runs::everywhere}, Entry{"applyRotary", applyRotary, Runs::everywhere}});
}

}  // namespace md::binding
