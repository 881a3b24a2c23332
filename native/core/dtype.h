// Element types and the switch from a run-time dtype to a compile-time type.
#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "error.h"

namespace md {

enum class DType : int32_t { f32 = 0, f64 = 1, i32 = 2, i64 = 3, u8 = 4, boolean = 5 };

inline size_t itemSize(DType dtype) {
  switch (dtype) {
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::f64:
    case DType::i64:
      return 8;
    default:
      return 1;
  }
}

inline const char* dtypeName(DType dtype) {
  constexpr const char* names[] = {"f32", "f64", "i32", "i64", "u8", "bool"};
  return names[static_cast<int>(dtype)];
}

inline bool isFloat(DType dtype) { return dtype == DType::f32 || dtype == DType::f64; }

/// Calls f(std::type_identity<T>{}) for f32 and f64; DTypeError otherwise.
template <class F>
decltype(auto) dispatchFloat(DType dtype, const char* op, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f(std::type_identity<float>{});
    case DType::f64:
      return f(std::type_identity<double>{});
    default:
      fail(ErrorKind::dtype, op, "dtype is ", dtypeName(dtype), ", expected f32 or f64");
  }
}

/// Calls f(std::type_identity<T>{}) for any dtype; bool is stored as uint8_t holding 0 or 1.
template <class F>
decltype(auto) dispatchAny(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f(std::type_identity<float>{});
    case DType::f64:
      return f(std::type_identity<double>{});
    case DType::i32:
      return f(std::type_identity<int32_t>{});
    case DType::i64:
      return f(std::type_identity<int64_t>{});
    default:
      return f(std::type_identity<uint8_t>{});
  }
}

}  // namespace md
