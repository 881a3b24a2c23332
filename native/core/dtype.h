// Element types and the switch from a run-time dtype to a compile-time type.
#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "error.h"
#include "half.h"

namespace md {

enum class DType : int32_t { f32 = 0, f64 = 1, i32 = 2, i64 = 3, u8 = 4, boolean = 5, f16 = 6, bf16 = 7, count };

inline size_t itemSize(DType dtype) {
  switch (dtype) {
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::f64:
    case DType::i64:
      return 8;
    case DType::f16:
    case DType::bf16:
      return 2;
    default:
      return 1;
  }
}

inline const char* dtypeName(DType dtype) {
  constexpr const char* names[] = {"f32", "f64", "i32", "i64", "u8", "bool", "f16", "bf16"};
  return names[static_cast<int>(dtype)];
}

/// Those that every kernel of floats takes.
inline bool isFloat(DType dtype) { return dtype == DType::f32 || dtype == DType::f64; }
/// Those that only some kernels take; to the others they come as f32 (binding/call.h).
inline bool isHalf(DType dtype) { return dtype == DType::f16 || dtype == DType::bf16; }
/// The dtype of sums and statistics over elements of `dtype`.
inline DType computedDType(DType dtype) { return isHalf(dtype) ? DType::f32 : dtype; }

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

/// Calls f(std::type_identity<S>{}) for every float as it is stored, Half and BFloat16 among them; DTypeError otherwise.
template <class F>
decltype(auto) dispatchStoredFloat(DType dtype, const char* op, F&& f) {
  if (dtype == DType::f16) return f(std::type_identity<Half>{});
  if (dtype == DType::bf16) return f(std::type_identity<BFloat16>{});
  return dispatchFloat(dtype, op, f);
}

/// Calls f(std::type_identity<T>{}) for any dtype that kernels compute in, so not for f16 and bf16; bool is stored as uint8_t holding 0 or 1.
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

/// Calls f(std::type_identity<T>{}) for any dtype, Half and BFloat16 among them.
template <class F>
decltype(auto) dispatchStored(DType dtype, F&& f) {
  if (dtype == DType::f16) return f(std::type_identity<Half>{});
  if (dtype == DType::bf16) return f(std::type_identity<BFloat16>{});
  return dispatchAny(dtype, f);
}

/// Calls f(std::type_identity<T>{}) for the unsigned integer as long as an element: where values are only moved.
template <class F>
decltype(auto) dispatchSize(size_t bytes, F&& f) {
  switch (bytes) {
    case 8:
      return f(std::type_identity<uint64_t>{});
    case 4:
      return f(std::type_identity<uint32_t>{});
    case 2:
      return f(std::type_identity<uint16_t>{});
    default:
      return f(std::type_identity<uint8_t>{});
  }
}

}  // namespace md
