// Every binding file, one line each.
#pragma once
#include "call.h"

namespace md::binding {

void registerAttention(Napi::Env, Napi::Object, Environment&);
void registerElementwise(Napi::Env, Napi::Object, Environment&);
void registerMatmul(Napi::Env, Napi::Object, Environment&);
void registerRandom(Napi::Env, Napi::Object, Environment&);
void registerReduce(Napi::Env, Napi::Object, Environment&);
void registerStorage(Napi::Env, Napi::Object, Environment&);

constexpr Register families[] = {
    registerAttention,
    registerElementwise,
    registerMatmul,
    registerRandom,
    registerReduce,
    registerStorage,
};

}  // namespace md::binding
