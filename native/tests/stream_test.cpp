#include "../isa/isa.h"
#include "../ops/batch_norm/op.h"
#include "../ops/layer_norm/op.h"
#include "check.h"
#include "numbers.h"

using namespace md;
using md::tests::Numbers;

namespace md::layer_norm {
namespace {

/// Sums over the rows of a block, and of a scale.
template <class T>
struct Sums {
  Numbers<T> partial, scale, shift;
  Sums(int64_t blocks, int64_t scales, int64_t n) : partial(blocks * 2 * n), scale(scales * n), shift(scales * n) {}
};

// Blocks one by one stay in the caches, all of them together do not.
template <class T>
void checkPastTheCaches(DType dtype, int64_t n, int64_t offset) {
  constexpr int64_t kRows = 4100;
  const Numbers<T> x(kRows * n, 1), grad(kRows * n, 2), weight(n, 3), bias(n, 4), scale(kRows * n, 5), shift(kRows * n, 6);
  Numbers<T> mean(kRows), rstd(kRows), one(kRows * n), all(kRows * n + offset);
  const auto same = [&] { return all.guarded() && std::memcmp(one.at(), all.at(offset), static_cast<size_t>(kRows * n) * sizeof(T)) == 0; };
  for (const int64_t rowsEach : {int64_t{0}, int64_t{1}, int64_t{41}, kRows}) {
    const Modulation by = rowsEach ? Modulation{scale.at(), shift.at(), n, n, rowsEach} : Modulation{};
    const auto normalize = [&](int64_t begin, int64_t end, T* y) {
      MD_CALL(layerNormRows)(dtype, n, 1e-5, begin, end, x.at(), weight.at(), bias.at(), by, y, mean.at(), rstd.at());
    };
    normalize(0, kRows, all.at(offset));
    for (int64_t row = 0; row < kRows; row++) normalize(row, row + 1, one.at());
    CHECK(same());

    const int64_t blockRows = rowsEach == 41 ? 123 : 128, blocks = (kRows + blockRows - 1) / blockRows;
    const int64_t scales = rowsEach == kRows ? blocks : rowsEach ? kRows / rowsEach : 1;
    const Blocks cut = rowsEach == kRows ? Blocks{kRows, kRows, blocks, blockRows, blocks} : Blocks{kRows, blockRows, 1, blockRows, blocks};
    Sums<T> ofOne(blocks, scales, n), ofAll(blocks, scales, n);
    const auto gradient = [&](int64_t begin, int64_t end, T* dx, Sums<T>& sums) {
      const ModulationSums to{rowsEach ? sums.scale.at() : nullptr, rowsEach > 1 ? sums.shift.at() : nullptr, n};
      MD_CALL(layerNormGradBlocks)(dtype, cut, n, begin, end, x.at(), weight.at(), bias.at(), by, mean.at(), rstd.at(), grad.at(), nullptr, dx,
                                   sums.partial.at(), to);
    };
    gradient(0, blocks, all.at(offset), ofAll);
    for (int64_t block = 0; block < blocks; block++) gradient(block, block + 1, one.at(), ofOne);
    CHECK(same());
    const auto equal = [](const Numbers<T>& a, const Numbers<T>& b, int64_t count) { return std::memcmp(a.at(), b.at(), static_cast<size_t>(count) * sizeof(T)) == 0; };
    CHECK(equal(ofOne.partial, ofAll.partial, blocks * 2 * n));
    CHECK(equal(ofOne.scale, ofAll.scale, scales * n) && equal(ofOne.shift, ofAll.shift, scales * n));
  }
}

}  // namespace
}  // namespace md::layer_norm

namespace md::batch_norm {
namespace {

template <class T>
void checkPastTheCaches(DType dtype, int64_t n, int64_t offset) {
  const Layout layout{4100, n, 1};
  const int64_t size = layout.batch * n;
  const Numbers<T> x(size, 1), grad(size, 2), mean(n, 3), scale(n, 4), shift(n, 5), rstd(n, 6), sums(2 * n, 7);
  Numbers<T> one(size), all(size + offset);
  const auto check = [&](auto run) {
    run(0, layout.chunks(), all.at(offset));
    for (int64_t chunk = 0; chunk < layout.chunks(); chunk++) run(chunk, chunk + 1, one.at());
    CHECK(all.guarded() && std::memcmp(one.at(), all.at(offset), static_cast<size_t>(size) * sizeof(T)) == 0);
  };
  check([&](int64_t begin, int64_t end, T* y) { MD_CALL(normalizeChunks)(dtype, layout, begin, end, x.at(), mean.at(), scale.at(), shift.at(), y); });
  for (const T* ofBatch : {sums.at(), static_cast<const T*>(nullptr)}) {
    check([&](int64_t begin, int64_t end, T* dx) {
      MD_CALL(gradChunks)(dtype, layout, begin, end, x.at(), mean.at(), rstd.at(), scale.at(), grad.at(), ofBatch, dx);
    });
  }
}

}  // namespace
}  // namespace md::batch_norm

namespace {

// Straight where rows are whole vectors at addresses of vectors, else by pieces.
TEST(normsHaveTheSameBitsPastTheCaches) {
  for (const int64_t n : {256, 255, 144}) {
    for (const int64_t offset : {0, 1}) {
      layer_norm::checkPastTheCaches<float>(DType::f32, n, offset);
      layer_norm::checkPastTheCaches<double>(DType::f64, n, offset);
      batch_norm::checkPastTheCaches<float>(DType::f32, n, offset);
      batch_norm::checkPastTheCaches<double>(DType::f64, n, offset);
    }
  }
}

}  // namespace
