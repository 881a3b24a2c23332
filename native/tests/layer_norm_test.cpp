#include <cmath>
#include <utility>

#include "../ops/layer_norm/op.h"
#include "check.h"
#include "numbers.h"

using namespace md;
using namespace md::layer_norm;
using md::tests::Numbers;

namespace {

using Floats = Numbers<float>;

bool near(float actual, double expected) { return std::abs(static_cast<double>(actual) - expected) <= 2e-4 * (1 + std::abs(expected)); }

// Scales and shifts lie side by side, as the halves of a projection; each serves as many rows as it is told.
void checkModulated(int64_t items, int64_t rowsEach, int64_t n) {
  const int64_t rows = items * rowsEach;
  Floats x(rows * n, 1), weight(n, 2), bias(n, 3), modulation(items * 2 * n, 4), grad(rows * n, 5), earlier(rows * n, 6);
  Floats y(rows * n), mean(rows), rstd(rows), dx(rows * n), sum(rows * n), dScale(items * n), dShift(items * n);
  const Modulation by{modulation.at(), modulation.at(n), 2 * n, 2 * n, rowsEach};
  MD_CALL(layerNormRows)(DType::f32, n, 1e-5, 0, rows, x.at(), weight.at(), bias.at(), by, y.at(), mean.at(), rstd.at());
  const bool own = rowsEach == 1;
  const Blocks blocks{rows, rowsEach, 1, rowsEach, items};
  Floats partial(items * 2 * n);
  for (const auto& [before, to] : {std::pair<const float*, float*>{nullptr, dx.at()}, {earlier.at(), sum.at()}}) {
    MD_CALL(layerNormGradBlocks)(DType::f32, blocks, n, 0, items, x.at(), weight.at(), bias.at(), by, mean.at(), rstd.at(), grad.at(), before, to,
                                 partial.at(), {dScale.at(), own ? nullptr : dShift.at(), n});
  }
  for (Floats* out : {&y, &mean, &rstd, &dx, &sum, &dScale, &partial}) CHECK(out->whole());
  for (int64_t i = 0; i < rows * n; i++) CHECK(near(*sum.at(i), static_cast<double>(*dx.at(i)) + static_cast<double>(*earlier.at(i))));
  if (!own) CHECK(dShift.whole());
  for (int64_t item = 0; item < items; item++) {
    for (int64_t i = 0; i < n; i++) {
      const double scale = 1 + static_cast<double>(*modulation.at(item * 2 * n + i)), shift = static_cast<double>(*modulation.at(item * 2 * n + n + i));
      double ofScale = 0, ofShift = 0;
      for (int64_t row = item * rowsEach; row < (item + 1) * rowsEach; row++) {
        double center = 0, squares = 0;
        for (int64_t k = 0; k < n; k++) center += static_cast<double>(*x.at(row * n + k)) / static_cast<double>(n);
        for (int64_t k = 0; k < n; k++) squares += std::pow(static_cast<double>(*x.at(row * n + k)) - center, 2) / static_cast<double>(n);
        const double hat = (static_cast<double>(*x.at(row * n + i)) - center) / std::sqrt(squares + 1e-5);
        const double normed = hat * static_cast<double>(*weight.at(i)) + static_cast<double>(*bias.at(i));
        CHECK(near(*y.at(row * n + i), normed * scale + shift));
        ofScale += normed * static_cast<double>(*grad.at(row * n + i));
        ofShift += static_cast<double>(*grad.at(row * n + i));
      }
      CHECK(near(*dScale.at(item * n + i), ofScale));
      if (!own) CHECK(near(*dShift.at(item * n + i), ofShift));
    }
  }
}

TEST(modulatedLayerNormWritesNothingElse) {
  for (const int64_t n : {1, 2, 3, 7, 16, 17, 31, 33, 100}) {
    for (const int64_t rowsEach : {1, 2, 5}) checkModulated(3, rowsEach, n);
  }
}

}  // namespace
