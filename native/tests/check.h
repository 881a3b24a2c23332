// A unit-test harness of a few lines: TEST(name) { CHECK(…); }
#pragma once
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "../core/error.h"
#include "../core/tensor.h"

namespace md::tests {

struct Test {
  const char* name;
  void (*body)();
};

inline std::vector<Test>& all() {
  static std::vector<Test> tests;
  return tests;
}

struct Registration {
  Registration(const char* name, void (*body)()) { all().push_back({name, body}); }
};

/// Runs `body`; true if it throws an md::Error of `kind`.
template <class F>
bool throwsKind(ErrorKind kind, F&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.kind() == kind;
  }
  return false;
}

inline bool sameBits(const Tensor& a, const Tensor& b) {
  return a.shape == b.shape && std::memcmp(a.raw(), b.raw(), static_cast<size_t>(a.numel()) * itemSize(a.dtype)) == 0;
}

}  // namespace md::tests

#define TEST(name)                                                   \
  static void name();                                                \
  static const md::tests::Registration name##Registered{#name, name}; \
  static void name()

#define CHECK(condition)                                                                                       \
  do {                                                                                                         \
    if (!(condition)) throw std::runtime_error(std::string(__FILE__ ":") + std::to_string(__LINE__) + ": " #condition); \
  } while (false)
