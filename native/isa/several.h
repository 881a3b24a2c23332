// Vectors side by side, for functions each of whose steps waits for the one before: of one vector's steps after another's
// a processor sees too few at once to keep its units at work.
#pragma once
#include "simd.h"

namespace md::MD_ISA {

template <class T>
struct Several {
  static constexpr int count = 4, width = count * Vec<T>::width;
  Vec<T> v[count];

  static Several zero() { return set(0); }
  static Several set(T x) {
    return of([=](int) { return Vec<T>::set(x); });
  }
  static Several load(const T* p) {
    return of([=](int i) { return Vec<T>::load(p + i * Vec<T>::width); });
  }
  void store(T* p) const {
    for (int i = 0; i < count; i++) v[i].store(p + i * Vec<T>::width);
  }
  void stream(T* p) const {
    for (int i = 0; i < count; i++) v[i].stream(p + i * Vec<T>::width);
  }

  /// f(i) for each of them.
  template <class F>
  __attribute__((always_inline)) static Several of(F f) {
    Several out;
#pragma GCC unroll 4
    for (int i = 0; i < count; i++) out.v[i] = f(i);
    return out;
  }
};

#define MD_SIDE_BY_SIDE(ARGUMENTS, EACH)                                               \
  template <class T>                                                                   \
  __attribute__((always_inline)) inline Several<T> ARGUMENTS {                         \
    return Several<T>::of([&](int i) __attribute__((always_inline)) { return EACH; }); \
  }
MD_SIDE_BY_SIDE(operator+(Several<T> a, Several<T> b), a.v[i] + b.v[i])
MD_SIDE_BY_SIDE(operator-(Several<T> a, Several<T> b), a.v[i] - b.v[i])
MD_SIDE_BY_SIDE(operator*(Several<T> a, Several<T> b), a.v[i] * b.v[i])
MD_SIDE_BY_SIDE(operator/(Several<T> a, Several<T> b), a.v[i] / b.v[i])
MD_SIDE_BY_SIDE(fma(Several<T> a, Several<T> b, Several<T> c), fma(a.v[i], b.v[i], c.v[i]))
MD_SIDE_BY_SIDE(max(Several<T> a, Several<T> b), max(a.v[i], b.v[i]))
MD_SIDE_BY_SIDE(min(Several<T> a, Several<T> b), min(a.v[i], b.v[i]))
MD_SIDE_BY_SIDE(abs(Several<T> x), abs(x.v[i]))
MD_SIDE_BY_SIDE(withSign(Several<T> x, Several<T> sign), withSign(x.v[i], sign.v[i]))
MD_SIDE_BY_SIDE(selectLess(Several<T> a, Several<T> b, Several<T> x, Several<T> y), selectLess(a.v[i], b.v[i], x.v[i], y.v[i]))
MD_SIDE_BY_SIDE(exp2NonPositive(Several<T> x), exp2NonPositive(x.v[i]))
MD_SIDE_BY_SIDE(expOf(Several<T> x), expOf(x.v[i]))
#undef MD_SIDE_BY_SIDE

}  // namespace md::MD_ISA
