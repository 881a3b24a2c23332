// The two 16-bit floats: stored, moved and converted; arithmetic is f32's.
#pragma once
#include <cstdint>
#include <type_traits>

#include "host_device.h"

// Inlined always: kernel files of several instruction sets include this, and the linker would keep one copy.
#define MD_HALF_FUNCTION __attribute__((always_inline)) MD_HOST_DEVICE inline

namespace md {

namespace half {

MD_HALF_FUNCTION uint32_t bitsOf(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof(bits));
  return bits;
}
MD_HALF_FUNCTION float floatOf(uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof(value));
  return value;
}

// Both without branches, so that loops vectorise: https://github.com/Maratyszcza/FP16.
MD_HALF_FUNCTION float floatOfF16(uint16_t stored) {
  const uint32_t word = static_cast<uint32_t>(stored) << 16, twice = word + word;
  const float normal = floatOf((twice >> 4) + (0xE0u << 23)) * 0x1.0p-112f;
  const float subnormal = floatOf((twice >> 17) | (126u << 23)) - 0.5f;
  return floatOf((word & 0x80000000u) | (twice < (1u << 27) ? bitsOf(subnormal) : bitsOf(normal)));
}
MD_HALF_FUNCTION uint16_t f16OfFloat(float value) {
  const uint32_t word = bitsOf(value), twice = word + word;
  // Too large becomes infinity; then what is added has the unit that the result is rounded to.
  const float bounded = (floatOf(word & 0x7FFFFFFFu) * 0x1.0p+112f) * 0x1.0p-110f;
  const uint32_t exponent = (twice & 0xFF000000u) < 0x71000000u ? 0x71000000u : twice & 0xFF000000u;
  const uint32_t rounded = bitsOf(floatOf((exponent >> 1) + 0x07800000u) + bounded);
  const uint32_t magnitude = ((rounded >> 13) & 0x7C00u) + (rounded & 0x0FFFu);
  return static_cast<uint16_t>((word >> 16 & 0x8000u) | (twice > 0xFF000000u ? 0x7E00u : magnitude));
}
MD_HALF_FUNCTION uint16_t bf16OfFloat(float value) {
  const uint32_t word = bitsOf(value);
  const uint32_t rounded = (word + 0x7FFFu + (word >> 16 & 1u)) >> 16;
  return static_cast<uint16_t>((word & 0x7FFFFFFFu) > 0x7F800000u ? (word >> 16 | 0x40u) : rounded);
}

}  // namespace half

/// IEEE 754 binary16. From f32 to the nearest, halves to even; too large becomes infinity, NaN stays NaN. Other numbers
/// come by way of f32.
struct Half {
  uint16_t bits;

  Half() = default;
  template <class T>
    requires std::is_arithmetic_v<T>
  MD_HALF_FUNCTION explicit Half(T value) : bits(half::f16OfFloat(static_cast<float>(value))) {}
  template <class T>
    requires std::is_arithmetic_v<T>
  MD_HALF_FUNCTION explicit operator T() const {
    return static_cast<T>(half::floatOfF16(bits));
  }
};

/// The upper half of an f32, converted as Half is.
struct BFloat16 {
  uint16_t bits;

  BFloat16() = default;
  template <class T>
    requires std::is_arithmetic_v<T>
  MD_HALF_FUNCTION explicit BFloat16(T value) : bits(half::bf16OfFloat(static_cast<float>(value))) {}
  template <class T>
    requires std::is_arithmetic_v<T>
  MD_HALF_FUNCTION explicit operator T() const {
    return static_cast<T>(half::floatOf(static_cast<uint32_t>(bits) << 16));
  }
};

/// What kernels compute elements of S in: f32 for the 16-bit floats, else S itself.
template <class S>
using Computed = std::conditional_t<std::is_same_v<S, Half> || std::is_same_v<S, BFloat16>, float, S>;

}  // namespace md
