// Counter-based random numbers, Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
// Plain functions of (key, counter): the same numbers on every device and thread count.
#pragma once
#include <cstdint>

#include "host_device.h"

namespace md {

struct Philox4 {
  uint32_t v[4];
};

MD_HOST_DEVICE inline void philoxRound(uint32_t& c0, uint32_t& c1, uint32_t& c2, uint32_t& c3, uint32_t k0, uint32_t k1) {
  const uint64_t p0 = uint64_t{0xD2511F53u} * c0, p1 = uint64_t{0xCD9E8D57u} * c2;
  c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
  c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
  c1 = static_cast<uint32_t>(p1);
  c3 = static_cast<uint32_t>(p0);
}

MD_HOST_DEVICE inline Philox4 philox(uint64_t key, uint64_t counterLow, uint64_t counterHigh = 0) {
  Philox4 c{{static_cast<uint32_t>(counterLow), static_cast<uint32_t>(counterLow >> 32), static_cast<uint32_t>(counterHigh),
             static_cast<uint32_t>(counterHigh >> 32)}};
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; round++) {
    philoxRound(c.v[0], c.v[1], c.v[2], c.v[3], k0, k1);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

/// [0, 1) with 24 bits: every value is exact in f32.
MD_HOST_DEVICE inline float uniformFloat(uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1p-24f; }

/// [0, 1) with 53 bits.
MD_HOST_DEVICE inline double uniformDouble(uint32_t high, uint32_t low) {
  return static_cast<double>((static_cast<uint64_t>(high) << 32 | low) >> 11) * 0x1p-53;
}

}  // namespace md
