// Where a tensor lives and the queue its kernels run on. CPU kernels run in order on the caller's thread pool.
#pragma once
#include <cstdint>
#include <string>

namespace md {

enum class DeviceType : int32_t { cpu = 0, cuda = 1 };

struct Device {
  DeviceType type = DeviceType::cpu;
  int32_t index = 0;

  bool operator==(const Device&) const = default;
  bool isCpu() const { return type == DeviceType::cpu; }
  /// "cpu" or "cuda:1"
  std::string str() const { return isCpu() ? "cpu" : "cuda:" + std::to_string(index); }
  /// The integer that crosses the JavaScript border: type in the low byte, index above it.
  int32_t code() const { return static_cast<int32_t>(type) | index << 8; }
};

class DeviceQueue;

/// `queue` is what the device's kernels wait in; null on the CPU.
struct Stream {
  Device device;
  DeviceQueue* queue = nullptr;
};

}  // namespace md
