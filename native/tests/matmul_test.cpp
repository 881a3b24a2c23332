#include <algorithm>
#include <array>
#include <cmath>
#include <type_traits>
#include <vector>

#include "../ops/elementwise/op.h"
#include "../ops/linear/op.h"
#include "check.h"

using namespace md;
using matmul::Activation;
using matmul::GemmArgs;

namespace {

struct Fixture {
  Allocator allocator;
  ThreadPool pool{2};
  Context context{allocator, pool};
};

/// Numbers in [-1, 1), the same for the same seed.
template <class T>
std::vector<T> numbers(size_t n, uint32_t seed) {
  std::vector<T> out(n);
  for (T& x : out) {
    seed = seed * 1664525u + 1013904223u;
    x = static_cast<T>(seed >> 8) * T(0x1p-23) - T(1);
  }
  return out;
}

enum class Layout { rows, columns, gaps };
constexpr Layout layouts[] = {Layout::rows, Layout::columns, Layout::gaps};

/// Strides of a rows x cols matrix; returns the elements that it spans.
int64_t lay(Layout layout, int64_t rows, int64_t cols, int64_t& rowStride, int64_t& colStride) {
  switch (layout) {
    case Layout::rows:
      rowStride = cols;
      colStride = 1;
      return rows * cols;
    case Layout::columns:
      rowStride = 1;
      colStride = rows;
      return rows * cols;
    default:
      rowStride = 2 * cols + 3;
      colStride = 2;
      return rows * (2 * cols + 3);
  }
}

double activated(Activation activation, double x) {
  switch (activation) {
    case Activation::relu: return x > 0 ? x : 0;
    case Activation::gelu: return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::geluTanh: return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::silu: return x / (1 + std::exp(-x));
    default: return x;
  }
}

double slope(Activation activation, double x) {
  if (activation == Activation::relu) return x > 0;
  constexpr double step = 1e-5;
  return (activated(activation, x + step) - activated(activation, x - step)) / (2 * step);
}

struct Case {
  int64_t m, n, k, items;
  Layout a, b, c;
  bool accumulate, bias, derivative, residual;
  Activation activation;
};

/// Whether every element is right and none between the elements of C was touched.
template <class T>
bool holds(Fixture& f, const Case& o) {
  GemmArgs g;
  g.dtype = sizeof(T) == 4 ? DType::f32 : DType::f64;
  g.m = o.m;
  g.n = o.n;
  g.k = o.k;
  const int64_t spanA = lay(o.a, o.m, o.k, g.aRow, g.aCol), spanB = lay(o.b, o.k, o.n, g.bRow, g.bCol);
  const int64_t spanC = lay(o.c, o.m, o.n, g.cRow, g.cCol), guard = 16;
  const auto a = numbers<T>(static_cast<size_t>(spanA * o.items), 1), b = numbers<T>(static_cast<size_t>(spanB * o.items), 2);
  const auto bias = numbers<T>(static_cast<size_t>(o.n), 3), before = numbers<T>(static_cast<size_t>(spanC * o.items + 2 * guard), 4);
  const auto residual = numbers<T>(before.size(), 5);
  auto c = before, derivative = before;
  g.a = a.data();
  g.b = b.data();
  g.c = c.data() + guard;
  g.alpha = o.accumulate ? 0.5 : 1;
  g.accumulate = o.accumulate;
  if (o.bias) g.bias = bias.data();
  if (o.derivative) g.derivative = derivative.data() + guard;
  if (o.residual) g.residual = residual.data() + guard;
  g.activation = o.activation;
  matmul::Batch batch;
  if (o.items > 1) {
    batch.shape = {o.items};
    batch.a = {spanA};
    batch.b = {spanB};
    batch.c = {spanC};
  }
  matmul::gemm(f.context, g, batch, "test");
  f.pool.finish();

  const double tolerance = (sizeof(T) == 4 ? 1e-6 : 1e-14) * (2 + std::sqrt(static_cast<double>(o.k)));
  std::vector<char> written(c.size());
  for (int64_t item = 0; item < o.items; item++) {
    for (int64_t i = 0; i < o.m; i++) {
      for (int64_t j = 0; j < o.n; j++) {
        const auto at = static_cast<size_t>(guard + item * spanC + i * g.cRow + j * g.cCol);
        double sum = 0;
        for (int64_t p = 0; p < o.k; p++) {
          sum += static_cast<double>(a[static_cast<size_t>(item * spanA + i * g.aRow + p * g.aCol)]) *
                 static_cast<double>(b[static_cast<size_t>(item * spanB + p * g.bRow + j * g.bCol)]);
        }
        sum = sum * g.alpha + (o.accumulate ? static_cast<double>(before[at]) : 0) + (o.bias ? static_cast<double>(bias[static_cast<size_t>(j)]) : 0);
        const double expected = activated(o.activation, sum) + (o.residual ? static_cast<double>(residual[at]) : 0);
        if (!(std::abs(static_cast<double>(c[at]) - expected) <= tolerance)) return false;
        if (o.derivative && !(std::abs(static_cast<double>(derivative[at]) - slope(o.activation, sum)) <= 2 * tolerance + 1e-9)) return false;
        written[at] = 1;
      }
    }
  }
  for (size_t i = 0; i < c.size(); i++) {
    if (!written[i] && (c[i] != before[i] || derivative[i] != before[i])) return false;
  }
  return true;
}

constexpr int64_t sizes[][3] = {{1, 1, 1},    {6, 16, 8},   {7, 17, 9},    {5, 3, 40},    {40, 3, 30},  {3, 40, 30},
                                {13, 33, 0},  {25, 50, 12}, {31, 9, 300},  {2, 100, 260}, {150, 2, 90}, {20, 20, 1100}};

TEST(gemmInEveryLayout) {
  Fixture f;
  for (const int threads : {1, 2, 5}) {
    f.pool.resize(threads);
    for (const auto& [m, n, k] : sizes) {
      for (const Layout a : layouts) {
        for (const Layout b : layouts) {
          for (const Layout c : layouts) {
            for (const bool residual : {false, true}) {
              const Case o{m, n, k, 1, a, b, c, false, false, false, residual, Activation::none};
              CHECK(holds<float>(f, o));
              CHECK(holds<double>(f, o));
            }
          }
        }
      }
    }
  }
}

TEST(gemmKeepsWhatAThreadHasPackedForItsOwnItemAlone) {
  Fixture f;
  for (const int threads : {2, 3}) {
    f.pool.resize(threads);
    // One block of B, several blocks of columns, several of k; rows that end within a part.
    for (const auto& [m, n, k] : {std::array<int64_t, 3>{700, 40, 30}, {260, 530, 20}, {260, 20, 400}, {900, 190, 90}}) {
      for (const int64_t items : {1, 3}) {
        for (const Layout b : layouts) {
          const Case o{m, n, k, items, Layout::rows, b, Layout::rows, false, true, false, false, Activation::none};
          CHECK(holds<float>(f, o));
          CHECK(holds<double>(f, o));
        }
      }
    }
  }
}

// All columns and all steps of k of such a B lie at one address, though parts of it are of different sizes.
TEST(gemmTakesABOfOneNumber) {
  Fixture f;
  for (const int threads : {2, 3}) {
    f.pool.resize(threads);
    for (const auto& [m, n, k] : {std::array<int64_t, 3>{64, 190, 100}, {144, 500, 100}, {190, 100, 64}}) {
      const std::vector<float> a = numbers<float>(static_cast<size_t>(m * k), 1);
      const float b = 0.5f;
      std::vector<float> c(static_cast<size_t>(m * n));
      GemmArgs g;
      g.m = m, g.n = n, g.k = k;
      g.a = a.data(), g.aRow = 1, g.aCol = m;
      g.b = &b, g.bRow = g.bCol = 0;
      g.c = c.data(), g.cRow = n;
      for (int run = 0; run < 200; run++) {
        std::fill(c.begin(), c.end(), 0.0f);
        matmul::gemm(f.context, g, "test");
        f.pool.finish();
        for (int64_t i = 0; i < m; i++) {
          double sum = 0;
          for (int64_t p = 0; p < k; p++) sum += static_cast<double>(a[static_cast<size_t>(p * m + i)]) / 2;
          for (int64_t j = 0; j < n; j++) CHECK(std::abs(static_cast<double>(c[static_cast<size_t>(i * n + j)]) - sum) <= 1e-4);
        }
      }
    }
  }
}

TEST(gemmScratchCoversEveryBlock) {
  using namespace md::matmul;
  const auto scratch = [](Layout a, Layout b, int64_t m, int64_t n, int64_t k) {
    GemmArgs g;
    lay(a, 100, 1000, g.aRow, g.aCol);
    lay(b, 1000, 100, g.bRow, g.bCol);
    g.m = m;
    g.n = n;
    g.k = k;
    return MD_CALL(gemmScratch)(g);
  };
  for (const Layout a : layouts) {
    for (const Layout b : layouts) {
      for (const int64_t n : {3, 16, 30, 64, 577}) {
        const int64_t whole = scratch(a, b, 337, n, 1000);
        for (const int64_t rows : {1, 6, 12, 13, 60, 145, 337}) {
          for (const int64_t cols : {int64_t{1}, int64_t{4}, n - 1, n}) {
            for (const int64_t depth : {0, 10, 300, 385, 576, 577, 1000}) CHECK(scratch(a, b, rows, std::min(cols, n), depth) <= whole);
          }
        }
      }
    }
  }
}

TEST(gemmEpilogues) {
  Fixture f;
  for (int activation = 0; activation < static_cast<int>(Activation::count); activation++) {
    for (const auto& [m, n, k] : sizes) {
      for (const int64_t items : {1, 3}) {
        for (int flags = 0; flags < 16; flags++) {
          const bool derivative = (flags & 4) && activation > 0;
          const Case o{m, n, k, items, Layout::rows, Layout::columns, Layout::rows, (flags & 1) != 0, (flags & 2) != 0, derivative, (flags & 8) != 0,
                       static_cast<Activation>(activation)};
          CHECK(holds<float>(f, o));
          CHECK(holds<double>(f, o));
        }
      }
    }
  }
}

template <class T>
void checkBoth(Layout layoutOfA) {
  Fixture f;
  constexpr std::array<std::array<int64_t, 3>, 6> shapes{{{700, 72, 96}, {72, 96, 700}, {24, 24, 4000}, {90, 7, 300}, {1, 5, 3}, {0, 8, 8}}};
  const auto a = numbers<T>(4000 * 96, 1), b = numbers<T>(4000 * 96, 2);
  const auto product = [&](const std::array<int64_t, 3>& shape, std::vector<T>& c) {
    GemmArgs g;
    g.dtype = std::is_same_v<T, float> ? DType::f32 : DType::f64;
    g.m = shape[0];
    g.n = g.bRow = g.cRow = shape[1];
    g.k = shape[2];
    lay(layoutOfA, g.m, g.k, g.aRow, g.aCol);
    g.a = a.data();
    g.b = b.data();
    g.c = c.data();
    return g;
  };
  for (const auto& one : shapes) {
    for (const auto& other : shapes) {
      std::vector<T> c(700 * 96, 7), d = c, cTogether = c, dTogether = c;
      matmul::gemm(f.context, product(one, c), "test");
      matmul::gemm(f.context, product(other, d), "test");
      matmul::gemmBoth(f.context, product(one, cTogether), product(other, dTogether), "test");
      f.pool.finish();
      CHECK(c == cTogether);
      CHECK(d == dTogether);
    }
  }
}

TEST(gemmBothGivesTheBitsOfTwo) {
  for (const Layout layoutOfA : {Layout::rows, Layout::columns}) {
    checkBoth<float>(layoutOfA);
    checkBoth<double>(layoutOfA);
  }
}

TEST(erfAndExpOverADenseRange) {
  Fixture f;
  constexpr int64_t n = 400001;
  Tensor x = empty(f.context, DType::f32, {n}, "test");
  for (int64_t i = 0; i < n; i++) x.data<float>()[i] = static_cast<float>(i - n / 2) * 5e-5f;
  const Tensor erf = elementwise::unary(f.context, elementwise::Unary::erf, x, 0, 0, "test");
  const Tensor exp = elementwise::unary(f.context, elementwise::Unary::exp, x, 0, 0, "test");
  Tensor one = empty(f.context, DType::f32, {1, 1}, "test");
  one.data<float>()[0] = 1;
  Tensor column = x;
  column.shape = {n, 1};
  column.stride = {1, 1};
  const Tensor gelu = linear::linear(f.context, column, one, nullptr, nullptr, Activation::gelu, false, "test").y;
  const Tensor ones = elementwise::full(f.context, DType::f32, {n}, 1, "test");
  const Tensor geluGrad = elementwise::unaryGrad(f.context, elementwise::Unary::gelu, x, ones, 0, 0, "test");
  f.pool.finish();
  for (int64_t i = 0; i < n; i++) {
    const double value = static_cast<double>(x.data<float>()[i]);
    const double density = std::exp(-value * value / 2) / std::sqrt(2 * M_PI), below = 0.5 * std::erfc(-value / std::sqrt(2.0));
    CHECK(std::abs(static_cast<double>(geluGrad.data<float>()[i]) - (below + value * density)) <= 2.2e-7);
    CHECK(std::abs(static_cast<double>(erf.data<float>()[i]) - std::erf(value)) <= 1e-7);
    CHECK(std::abs(static_cast<double>(exp.data<float>()[i]) / std::exp(value) - 1) <= 2e-7);
    CHECK(std::abs(static_cast<double>(gelu.data<float>()[i]) - activated(Activation::gelu, value)) <= 1.2e-7 * std::fmax(1, std::abs(value)));
  }
}

}  // namespace
