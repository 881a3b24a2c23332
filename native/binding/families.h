// Every binding file, one line each.
#pragma once
#include "call.h"

namespace md::binding {

void registerAttention(Napi::Env, Napi::Object, Environment&);
void registerCrossEntropy(Napi::Env, Napi::Object, Environment&);
void registerDevices(Napi::Env, Napi::Object, Environment&);
void registerElementwise(Napi::Env, Napi::Object, Environment&);
void registerGraph(Napi::Env, Napi::Object, Environment&);
void registerImage(Napi::Env, Napi::Object, Environment&);
void registerIndex(Napi::Env, Napi::Object, Environment&);
void registerLocalKernelQuery(Napi::Env, Napi::Object, Environment&);
void registerMatmul(Napi::Env, Napi::Object, Environment&);
void registerNorms(Napi::Env, Napi::Object, Environment&);
void registerOptimizer(Napi::Env, Napi::Object, Environment&);
void registerRandom(Napi::Env, Napi::Object, Environment&);
void registerReduce(Napi::Env, Napi::Object, Environment&);
void registerRotary(Napi::Env, Napi::Object, Environment&);
void registerSegment(Napi::Env, Napi::Object, Environment&);
void registerSerialize(Napi::Env, Napi::Object, Environment&);
void registerSoftmax(Napi::Env, Napi::Object, Environment&);
void registerSort(Napi::Env, Napi::Object, Environment&);
void registerStorage(Napi::Env, Napi::Object, Environment&);
void registerSubmConv3d(Napi::Env, Napi::Object, Environment&);
void registerVoxelHash(Napi::Env, Napi::Object, Environment&);

constexpr Register families[] = {
    registerAttention,
    registerCrossEntropy,
    registerDevices,
    registerElementwise,
    registerGraph,
    registerImage,
    registerIndex,
    registerLocalKernelQuery,
    registerMatmul,
    registerNorms,
    registerOptimizer,
    registerRandom,
    registerReduce,
    registerRotary,
    registerSegment,
    registerSerialize,
    registerSoftmax,
    registerSort,
    registerStorage,
    registerSubmConv3d,
    registerVoxelHash,
};

}  // namespace md::binding
