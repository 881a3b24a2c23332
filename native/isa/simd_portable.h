// Vec<T> in GCC vector extensions, 16 bytes wide: any processor.
#pragma once
#include <cstdint>
#include <cstring>

namespace md::MD_ISA {

template <class T>
struct Vec {
  typedef T Native __attribute__((vector_size(16)));
  static constexpr int width = 16 / sizeof(T);
  Native v;

  static Vec zero() { return {Native{}}; }
  static Vec set(T x) { return {Native{} + x}; }
  static Vec load(const T* p) {
    Vec out;
    std::memcpy(&out.v, p, sizeof(Native));
    return out;
  }
  /// The first n < width elements, zero beyond them.
  static Vec loadPart(const T* p, int n) {
    Vec out = zero();
    std::memcpy(&out.v, p, static_cast<size_t>(n) * sizeof(T));
    return out;
  }
  void store(T* p) const { std::memcpy(p, &v, sizeof(Native)); }
  void storePart(T* p, int n) const { std::memcpy(p, &v, static_cast<size_t>(n) * sizeof(T)); }
  T sum() const {
    T total = 0;
    for (int i = 0; i < width; i++) total += v[i];
    return total;
  }
  T max() const {
    T best = v[0];
    for (int i = 1; i < width; i++) best = v[i] > best ? v[i] : best;
    return best;
  }
};

template <class T>
inline Vec<T> operator+(Vec<T> a, Vec<T> b) {
  return {a.v + b.v};
}
template <class T>
inline Vec<T> operator-(Vec<T> a, Vec<T> b) {
  return {a.v - b.v};
}
template <class T>
inline Vec<T> operator*(Vec<T> a, Vec<T> b) {
  return {a.v * b.v};
}
template <class T>
inline Vec<T> operator/(Vec<T> a, Vec<T> b) {
  return {a.v / b.v};
}
/// a * b + c
template <class T>
inline Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) {
  return {a.v * b.v + c.v};
}
template <class T>
inline Vec<T> max(Vec<T> a, Vec<T> b) {
  return {a.v > b.v ? a.v : b.v};
}
template <class T>
inline Vec<T> min(Vec<T> a, Vec<T> b) {
  return {a.v < b.v ? a.v : b.v};
}

}  // namespace md::MD_ISA
