// Codes whose unsigned order is the order of the elements: NaN last, -0 equal to 0.
#pragma once
#include <bit>
#include <cstdint>

#include "../../core/host_device.h"

namespace md::sort {

// Internal linkage, so that no instruction set's copy can stand in for another's.

MD_HOST_DEVICE static inline uint64_t codeOf(float x) {
  if (x != x) return 0xFFFFFFFFu;
  const uint32_t bits = std::bit_cast<uint32_t>(x + 0.0f);  // -0 becomes 0
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}
MD_HOST_DEVICE static inline uint64_t codeOf(double x) {
  if (x != x) return ~uint64_t{0};
  const uint64_t bits = std::bit_cast<uint64_t>(x + 0.0);
  return bits >> 63 ? ~bits : bits | uint64_t{1} << 63;
}
MD_HOST_DEVICE static inline uint64_t codeOf(int32_t x) { return static_cast<uint32_t>(x) ^ 0x80000000u; }
MD_HOST_DEVICE static inline uint64_t codeOf(int64_t x) { return static_cast<uint64_t>(x) ^ uint64_t{1} << 63; }
MD_HOST_DEVICE static inline uint64_t codeOf(uint8_t x) { return x; }

/// The code of x in rising or falling order.
template <class T>
MD_HOST_DEVICE static inline uint64_t codeOf(T x, bool descending) {
  constexpr uint64_t mask = ~uint64_t{0} >> (64 - 8 * sizeof(T));
  return codeOf(x) ^ (descending ? mask : 0);
}

}  // namespace md::sort
