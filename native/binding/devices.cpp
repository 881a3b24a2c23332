// Devices other than the CPU: what this build and machine have, and waiting for them.
#include "../core/cuda/backend.h"
#include "families.h"

namespace md::binding {
namespace {

/// cuda() => { compiled, emulated, driver, runtime, architectures, cublas, cub, reason, devices: [{ name, major, minor, totalBytes, matrixUnits }] }
Napi::Value cuda(Call& call) {
  const CudaStatus& status = cudaStatus();
  const Napi::Env env = call.napi();
  auto devices = Napi::Array::New(env);
  for (const DeviceInfo& info : status.devices) {
    auto device = Napi::Object::New(env);
    device.Set("name", info.name);
    device.Set("major", info.major);
    device.Set("minor", info.minor);
    device.Set("totalBytes", static_cast<double>(info.totalBytes));
    device.Set("matrixUnits", info.matrixUnits);
    devices.Set(devices.Length(), device);
  }
  auto out = Napi::Object::New(env);
  out.Set("compiled", status.compiled);
  out.Set("emulated", status.emulated);
  out.Set("driver", status.driver);
  out.Set("runtime", status.runtime);
  out.Set("architectures", status.architectures);
  out.Set("cublas", status.compiled ? ::md::cuda::cublasLibrary() : "");
  out.Set("cub", status.compiled && ::md::cuda::hasCub());
  out.Set("reason", status.reason);
  out.Set("devices", devices);
  return out;
}

/// synchronize(device)
void synchronize(Call& call) {
  call.onDevice(0);
  if (DeviceQueue* queue = call.context().stream.queue) return queue->synchronize(call.op);
  call.context().pool.finish();
}

}  // namespace

void registerDevices(Napi::Env env, Napi::Object exports, Environment& environment) {
  define(env, exports, environment, {Entry{"synchronize", synchronize, Runs::everywhere}});
  define(env, exports, environment, {ValueEntry{"cuda", cuda}});
}

}  // namespace md::binding
