// Every binding file, one line each.
#pragma once
#include "call.h"

namespace md::binding {

void registerStorage(Napi::Env, Napi::Object, Environment&);
void registerElementwise(Napi::Env, Napi::Object, Environment&);

constexpr Register families[] = {
    registerStorage,
    registerElementwise,
};

}  // namespace md::binding
