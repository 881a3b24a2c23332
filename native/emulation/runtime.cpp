#include "runtime.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "graph.h"
#include "memory.h"
#include "threads.h"

using namespace md::emulation;

namespace {

thread_local int current = 0;

// MD_EMULATED_DEVICES=0 stands for a machine without a device.
int deviceCount() {
  const char* wanted = std::getenv("MD_EMULATED_DEVICES");
  return wanted ? std::atoi(wanted) : kDevices;
}

// The CUDA that the emulation stands for. MD_EMULATED_DRIVER=11040 stands for a driver of CUDA 11.4.
constexpr int kRuntime = 12000;
int driver() {
  const char* wanted = std::getenv("MD_EMULATED_DRIVER");
  return wanted ? std::atoi(wanted) : kRuntime;
}

cudaError_t state() { return lastFault().empty() ? cudaSuccess : cudaErrorLaunchFailure; }

// Waiting for a device that captures a graph.
cudaError_t waited() {
  if (!capturing(current)) return state();
  invalidateCapture(current);
  return cudaErrorStreamCaptureUnsupported;
}

// Does what was queued now, or when the graph that is being captured is launched.
cudaError_t queued(std::function<void()> work) {
  if (capturing(current)) {
    capture(current, std::move(work));
  } else {
    work();
  }
  return cudaSuccess;
}

}  // namespace

int md::emulation::currentDevice() { return current; }

cudaError_t cudaGetDeviceCount(int* count) {
  if (driver() < kRuntime) return cudaErrorInsufficientDriver;
  *count = deviceCount();
  return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= deviceCount()) return cudaErrorInvalidDevice;
  current = device;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= deviceCount()) return cudaErrorInvalidDevice;
  std::snprintf(properties->name, sizeof(properties->name), "emulated device %d", device);
  properties->major = 8;
  properties->minor = 0;
  properties->totalGlobalMem = kDeviceBytes;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = driver();
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = kRuntime;
  return cudaSuccess;
}
cudaError_t cudaGetLastError() { return state(); }
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorLaunchFailure: return lastFault().c_str();
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
    default: return "invalid argument";
  }
}

cudaError_t cudaMalloc(void** address, size_t bytes) {
  if (state() != cudaSuccess) return state();
  *address = allocate(current, bytes);
  return *address ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFree(void* address) { return release(address) ? state() : cudaErrorInvalidValue; }
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = freeBytes(current);
  *total = kDeviceBytes;
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** address, size_t bytes, unsigned) {
  *address = std::malloc(bytes);
  return *address ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFreeHost(void* address) {
  std::free(address);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  if (state() != cudaSuccess) return state();
  if (kind != cudaMemcpyHostToDevice && !isDeviceRange(from, bytes)) return cudaErrorInvalidValue;
  if (kind != cudaMemcpyDeviceToHost && !isDeviceRange(to, bytes)) return cudaErrorInvalidValue;
  return queued([=] { copyBytes(to, from, bytes); });
}
cudaError_t cudaMemsetAsync(void* address, int value, size_t bytes, cudaStream_t) {
  if (state() != cudaSuccess) return state();
  if (!isDeviceRange(address, bytes)) return cudaErrorInvalidValue;
  return queued([=] { fillBytes(address, value, bytes); });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = nullptr;
  return state();
}
cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return waited(); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = nullptr;
  return state();
}
cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return state(); }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return waited(); }
