// Arrays for tests of kernels.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

namespace md::tests {

/// Room for n numbers between guards, the first of them at a multiple of 64 bytes.
template <class T>
class Numbers {
 public:
  explicit Numbers(int64_t n) : values_(static_cast<size_t>(n + 2 * kGuard + kLine), kUntouched), count_(n) {
    const auto ahead = static_cast<int64_t>(reinterpret_cast<uintptr_t>(values_.data() + kGuard) / sizeof(T)) % kLine;
    begin_ = kGuard + (kLine - ahead) % kLine;
  }
  /// From -1 to 1, the same for the same seed.
  Numbers(int64_t n, uint32_t seed) : Numbers(n) {
    for (int64_t i = 0; i < n; i++) {
      seed = seed * 1664525u + 1013904223u;
      *at(i) = static_cast<T>(static_cast<double>(seed >> 8) * 0x1p-23 - 1);
    }
  }
  Numbers(const Numbers&) = delete;

  T* at(int64_t i = 0) { return values_.data() + begin_ + i; }
  const T* at(int64_t i = 0) const { return values_.data() + begin_ + i; }
  /// Whether nothing was written beside the numbers.
  bool guarded() const {
    const auto untouched = [](T x) { return x == kUntouched; };
    return std::all_of(values_.data(), at(), untouched) && std::all_of(at(count_), values_.data() + values_.size(), untouched);
  }
  /// Whether each of them was written, too.
  bool whole() const {
    return guarded() && std::none_of(at(), at(count_), [](T x) { return x == kUntouched; });
  }

 private:
  static constexpr T kUntouched = 12345;
  static constexpr int64_t kLine = 64 / sizeof(T), kGuard = 16;
  std::vector<T> values_;
  int64_t count_, begin_;
};

}  // namespace md::tests
