// Operands and results of kernels that are called as op.cpp calls them.
#pragma once
#include <cmath>
#include <memory>
#include <vector>

#include "../../core/context.h"

namespace md {

struct OnDevice {
  std::unique_ptr<DeviceQueue> queue{openQueue({DeviceType::cuda, 0}, "test")};
  ThreadPool pool{1};
  Context context{queue->allocator(), pool, Stream{{DeviceType::cuda, 0}, queue.get()}};
};

/// Numbers in [-1, 1), the same for the same seed.
template <class S>
Tensor numbers(OnDevice& device, int64_t n, uint32_t seed) {
  std::vector<S> values;
  for (int64_t i = 0; i < n; i++) {
    seed = seed * 1664525u + 1013904223u;
    values.push_back(S(static_cast<float>(seed >> 8) * 0x1p-23f - 1));
  }
  const Tensor out = empty(device.context, std::is_same_v<S, Half> ? DType::f16 : DType::bf16, {n}, "test");
  copyFromHost(device.context, values.data(), out, "test");
  return out;
}

/// As f32, on the host.
template <class S>
std::vector<float> wide(OnDevice& device, const Tensor& x) {
  std::vector<S> values(static_cast<size_t>(x.numel()));
  copyToHost(device.context, x, values.data(), "test");
  std::vector<float> out;
  for (const S value : values) out.push_back(static_cast<float>(value));
  return out;
}

/// Both sum in f32, in another order: what they round to S differs by a unit in its last place,
/// here and there.
template <class S>
bool close(const std::vector<float>& found, const std::vector<float>& expected) {
  constexpr double epsilon = std::is_same_v<S, Half> ? 0x1p-10 : 0x1p-7;
  double off = 0, size = 0;
  for (size_t i = 0; i < expected.size(); i++) {
    off += std::pow(static_cast<double>(found[i]) - static_cast<double>(expected[i]), 2);
    size += std::pow(static_cast<double>(expected[i]), 2);
  }
  return size > 0 && std::sqrt(off) <= epsilon * std::sqrt(size) / 2;
}

}  // namespace md
