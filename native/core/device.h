// Where a tensor lives and the queue its kernels run on. CPU kernels run in order on the caller's thread pool.
#pragma once
#include <cstdint>

namespace md {

enum class DeviceType : int32_t { cpu = 0, cuda = 1 };

struct Device {
  DeviceType type = DeviceType::cpu;
  int32_t index = 0;
  bool operator==(const Device&) const = default;
};

/// `handle` is the device's own queue (a cudaStream_t); null on the CPU.
struct Stream {
  Device device;
  void* handle = nullptr;
};

}  // namespace md
