#include <algorithm>
#include <vector>

#include "../ops/elementwise/op.h"
#include "check.h"

using namespace md;
using namespace md::elementwise;

namespace {

constexpr Unary kKinds[] = {Unary::exp, Unary::sigmoid, Unary::silu, Unary::gelu, Unary::geluTanh, Unary::erf, Unary::relu, Unary::abs};

/// f(x, y, n): elements [0, n) of a function, or of its gradient times x.
template <class T, class F>
void checkPieces(F f) {
  const size_t guard = 16;
  std::vector<T> pattern(1021), expected(pattern.size());
  for (size_t i = 0; i < pattern.size(); i++) {
    pattern[i] = static_cast<T>(static_cast<double>(i * 389 % pattern.size()) / 64 - 8);
    f(&pattern[i], &expected[i], 1);
  }
  // Up to several vectors and beyond, and what goes past the caches.
  std::vector<size_t> counts;
  for (size_t n = 0; n < 140; n++) counts.push_back(n);
  for (const size_t more : {0, 3, 37}) counts.push_back((2 << 20) / sizeof(T) + more);
  for (const size_t n : counts) {
    std::vector<T> x(n);
    for (size_t i = 0; i < n; i++) x[i] = pattern[i % pattern.size()];
    for (const size_t offset : {0, 1, 3}) {
      std::vector<T> y(n + 2 * guard, T(12345));
      f(x.data(), y.data() + guard + offset, static_cast<int64_t>(n));
      for (size_t i = 0; i < n; i++) CHECK(std::memcmp(&y[guard + offset + i], &expected[i % expected.size()], sizeof(T)) == 0);
      CHECK(std::all_of(y.begin(), y.begin() + guard + offset, [](T v) { return v == T(12345); }));
      CHECK(std::all_of(y.begin() + guard + offset + static_cast<std::ptrdiff_t>(n), y.end(), [](T v) { return v == T(12345); }));
    }
  }
}

template <class T>
void checkFunctions(DType dtype) {
  for (const Unary kind : kKinds) {
    checkPieces<T>([=](const T* x, T* y, int64_t n) { MD_CALL(unaryRange)(kind, dtype, x, y, n, 0, 0); });
    if (kind != Unary::erf) checkPieces<T>([=](const T* x, T* y, int64_t n) { MD_CALL(unaryGradRange)(kind, dtype, x, x, y, n, 0, 0); });
  }
}

template <class T>
void checkBinary(DType dtype) {
  checkPieces<T>([=](const T* x, T* y, int64_t n) {
    Loop loop;
    loop.rank = 1;
    loop.extent[0] = n;
    for (int operand = 0; operand < 3; operand++) loop.stride[operand][0] = 1;
    MD_CALL(binaryRows)(Binary::mul, dtype, loop, 0, 1, x, x, y);
  });
}

TEST(functionsHaveTheSameBitsByPartsOfAVectorByVectorsAndPastTheCaches) {
  checkFunctions<float>(DType::f32);
  checkFunctions<double>(DType::f64);
  checkBinary<float>(DType::f32);
  checkBinary<double>(DType::f64);
}

}  // namespace
