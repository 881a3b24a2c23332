#include "../ops/matmul/op.h"

#include "families.h"

namespace md::binding {
namespace {

void matmul(Call& call) { call.emit(matmul::matmul(call.context(), call.tensor(0), call.tensor(1), call.op)); }

}  // namespace

void registerMatmul(Napi::Env env, Napi::Object exports, Environment& environment) {
  define(env, exports, environment, {Entry{"matmul", matmul}});
}

}  // namespace md::binding
