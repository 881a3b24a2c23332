#include "runtime.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "memory.h"
#include "threads.h"

using namespace md::emulation;

namespace {

thread_local int currentDevice = 0;

// MD_EMULATED_DEVICES=0 stands for a machine without a device.
int deviceCount() {
  const char* wanted = std::getenv("MD_EMULATED_DEVICES");
  return wanted ? std::atoi(wanted) : kDevices;
}

cudaError_t state() { return lastFault().empty() ? cudaSuccess : cudaErrorLaunchFailure; }

}  // namespace

cudaError_t cudaGetDeviceCount(int* count) {
  *count = deviceCount();
  return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= deviceCount()) return cudaErrorInvalidDevice;
  currentDevice = device;
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
  *version = 0;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 0;
  return cudaSuccess;
}
cudaError_t cudaGetLastError() { return state(); }
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorLaunchFailure: return lastFault().c_str();
    default: return "invalid argument";
  }
}

cudaError_t cudaMalloc(void** address, size_t bytes) {
  if (state() != cudaSuccess) return state();
  *address = allocate(currentDevice, bytes);
  return *address ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFree(void* address) { return release(address) ? state() : cudaErrorInvalidValue; }
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = freeBytes(currentDevice);
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
  copyBytes(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* address, int value, size_t bytes, cudaStream_t) {
  if (state() != cudaSuccess) return state();
  if (!isDeviceRange(address, bytes)) return cudaErrorInvalidValue;
  fillBytes(address, value, bytes);
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = nullptr;
  return state();
}
cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return state(); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = nullptr;
  return state();
}
cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return state(); }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return state(); }
