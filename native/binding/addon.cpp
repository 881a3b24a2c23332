// Entry point of the addon: one Environment for each Node environment that loads it.
#include <cmath>
#include <thread>

#include "../isa/isa.h"
#include "families.h"

namespace md::binding {

Napi::Object init(Napi::Env env, Napi::Object exports);

namespace {

Napi::Value isa(Call& call) { return Napi::String::New(call.napi(), isaName(activeIsa())); }

Napi::Value isas(Call& call) {
  auto names = Napi::Array::New(call.napi());
  for (Isa isa : kIsas) {
    if (supports(isa)) names.Set(names.Length(), isaName(isa));
  }
  return names;
}

Napi::Value getNumThreads(Call& call) { return Napi::Number::New(call.napi(), call.context().pool.threads()); }

void setNumThreads(Call& call) {
  const double threads = call.number(0);
  if (!(threads >= 1 && threads <= 256 && threads == std::floor(threads))) fail(ErrorKind::value, call.op, "found ", threads, ", expected 1 to 256 threads");
  call.context().pool.resize(static_cast<int>(threads));
}

Napi::Value setErrorFactory(Call& call) {
  call.environment().makeError = Napi::Persistent(call.value(0).As<Napi::Function>());
  return call.napi().Undefined();
}

int defaultThreads() {
  const unsigned threads = std::thread::hardware_concurrency();
  return threads ? static_cast<int>(threads) : 1;
}

}  // namespace

Napi::Object init(Napi::Env env, Napi::Object exports) {
  auto owned = std::make_unique<Environment>(defaultThreads());
  Environment& environment = *owned;
  env.AddCleanupHook([](Environment* last) { std::unique_ptr<Environment>{last}; }, owned.release());

  auto outputs = Napi::Int32Array::New(env, kMaxOutputs * kOutputStride);
  environment.outputs = outputs.Data();
  environment.outputsArray = Napi::Reference<Napi::Int32Array>::New(outputs, 1);
  exports.Set("outputs", outputs);

  define(env, exports, environment, {ValueEntry{"isa", isa}, ValueEntry{"isas", isas}, ValueEntry{"getNumThreads", getNumThreads}, ValueEntry{"setErrorFactory", setErrorFactory}});
  define(env, exports, environment, {Entry{"setNumThreads", setNumThreads}});
  for (Register family : families) family(env, exports, environment);
  return exports;
}

}  // namespace md::binding

static Napi::Object initAddon(Napi::Env env, Napi::Object exports) { return md::binding::init(env, exports); }

NODE_API_MODULE(md_native, initAddon)
