#include <cmath>
#include <vector>

#include "../ops/cross_entropy/op.h"
#include "../ops/softmax/op.h"
#include "check.h"
#include "numbers.h"

using namespace md;
using md::tests::Numbers;

namespace md::softmax {
void rows(DType dtype, int64_t count, int64_t n, bool log, const void* x, void* out) {
  MD_CALL(softmaxUnits)(dtype, {count, n, 1}, log, 0, count, x, out);
}
}  // namespace md::softmax

namespace md::cross_entropy {
constexpr double kSmoothing = 0.1;
void losses(DType dtype, int64_t count, int64_t classes, const void* logits, const int64_t* target, void* loss, void* normalizers) {
  MD_CALL(lossRange)(dtype, classes, kSmoothing, 0, count, logits, target, loss, normalizers);
}
void gradient(DType dtype, int64_t count, int64_t classes, const void* logits, const int64_t* target, const void* normalizers, const void* grad, void* out) {
  MD_CALL(lossGradRange)(dtype, classes, kSmoothing, 0, count, logits, target, normalizers, grad, 0, 1, out);
}
}  // namespace md::cross_entropy

namespace {

bool near(double actual, double expected, DType dtype) {
  return std::abs(actual - expected) <= (dtype == DType::f32 ? 1e-5 : 1e-13) * (1 + std::abs(expected));
}

// All rows at once, and each alone, beside sums in f64.
template <class T>
void checkRows(DType dtype, int64_t rows, int64_t n) {
  Numbers<T> x(rows * n, 1), losses(rows), normalizers(2 * rows), dx(rows * n), grad(1);
  std::vector<int64_t> target;
  for (int64_t i = 0; i < rows * n; i++) *x.at(i) *= 8;
  for (int64_t r = 0; r < rows; r++) target.push_back(r * 7 % n);
  *grad.at() = T(1);
  Numbers<T> y[] = {Numbers<T>(rows * n), Numbers<T>(rows * n)};
  for (const bool log : {false, true}) softmax::rows(dtype, rows, n, log, x.at(), y[log].at());
  cross_entropy::losses(dtype, rows, n, x.at(), target.data(), losses.at(), normalizers.at());
  cross_entropy::gradient(dtype, rows, n, x.at(), target.data(), normalizers.at(), grad.at(), dx.at());
  CHECK(y[0].guarded() && y[1].guarded() && losses.guarded() && normalizers.guarded() && dx.guarded());

  Numbers<T> alone(n), loss(1), normalizer(2);
  for (int64_t r = 0; r < rows; r++) {
    const T* const row = x.at(r * n);
    double total = 0, sum = 0;
    for (int64_t i = 0; i < n; i++) total += std::exp(static_cast<double>(row[i])), sum += static_cast<double>(row[i]);
    const double lse = std::log(total), hit = static_cast<double>(row[target[static_cast<size_t>(r)]]);
    CHECK(near(static_cast<double>(*losses.at(r)), 0.9 * (lse - hit) + 0.1 * (lse - sum / static_cast<double>(n)), dtype));
    cross_entropy::losses(dtype, 1, n, row, &target[static_cast<size_t>(r)], loss.at(), normalizer.at());
    CHECK(*loss.at() == *losses.at(r) && std::memcmp(normalizer.at(), normalizers.at(2 * r), 2 * sizeof(T)) == 0);
    for (const bool log : {false, true}) {
      softmax::rows(dtype, 1, n, log, row, alone.at());
      CHECK(std::memcmp(alone.at(), y[log].at(r * n), static_cast<size_t>(n) * sizeof(T)) == 0);
    }
    for (int64_t i = 0; i < n; i++) {
      const double power = static_cast<double>(row[i]) - lse, share = std::exp(power);
      const double wanted = 0.1 / static_cast<double>(n) + (i == target[static_cast<size_t>(r)] ? 0.9 : 0);
      CHECK(near(static_cast<double>(*y[0].at(r * n + i)), share, dtype));
      CHECK(near(static_cast<double>(*y[1].at(r * n + i)), power, dtype));
      CHECK(near(static_cast<double>(*dx.at(r * n + i)), share - wanted, dtype));
    }
  }
}

// Rows that go together by eights and by fewer, with parts of vectors at their ends; at last past the caches, by pieces and straight.
TEST(rowsOfSoftmaxAndCrossEntropyAreTheSameTogetherAndAlone) {
  for (const int64_t n : {1, 2, 7, 8, 9, 17, 37, 255, 256, 700, 2049, 5000}) {
    for (const int64_t rows : {1, 7, 8, 9, 20}) {
      checkRows<float>(DType::f32, rows, n);
      checkRows<double>(DType::f64, rows, n);
    }
  }
  for (const int64_t n : {256, 257}) {
    checkRows<float>(DType::f32, 2101, n);
    checkRows<double>(DType::f64, 1051, n);
  }
  // Wider than the piece that the powers of rows going past the caches are kept in.
  checkRows<float>(DType::f32, 300, 2056);
  checkRows<double>(DType::f64, 300, 1032);
}

}  // namespace
