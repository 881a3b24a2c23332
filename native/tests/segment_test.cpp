#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "../ops/segment/op.h"
#include "../ops/serialize/op.h"
#include "check.h"

namespace {

using namespace md;

struct Fixture {
  Allocator allocator;
  ThreadPool pool{3};
  Context context{allocator, pool};
  std::mt19937 random{4};

  Tensor integers(const std::vector<int32_t>& values, const Dims& shape) {
    Tensor out = empty(context, DType::i32, shape, "test");
    pool.finish();
    std::copy(values.begin(), values.end(), out.data<int32_t>());
    return out;
  }
};

TEST(segmentsAgreeWithLoops) {
  Fixture f;
  for (const int64_t rows : {0, 1, 70, 3000}) {
    for (const int64_t inner : {0, 1, 63, 65, 130}) {
      std::vector<int32_t> offsets{0}, order(static_cast<size_t>(rows));
      while (offsets.back() < rows) offsets.push_back(std::min<int32_t>(static_cast<int32_t>(rows), offsets.back() + static_cast<int32_t>(1 + f.random() % 200)));
      std::iota(order.begin(), order.end(), 0);
      std::shuffle(order.begin(), order.end(), f.random);
      Tensor x = empty(f.context, DType::f64, {rows, inner}, "test");
      f.pool.finish();
      for (int64_t i = 0; i < x.numel(); i++) x.data<double>()[i] = static_cast<double>(f.random() % 2001) / 1000 - 1;
      const auto count = static_cast<int64_t>(offsets.size()) - 1;
      const Tensor bounds = f.integers(offsets, {count + 1}), permutation = f.integers(order, {rows});
      const segment::Segments segments{bounds, &permutation};
      const Tensor sum = segment::reduce(f.context, segment::Reduction::sum, x, segments, "test");
      const Tensor mean = segment::reduce(f.context, segment::Reduction::mean, x, segments, "test");
      const segment::Maximum max = segment::max(f.context, x, segments, "test");
      const Tensor grad = segment::reduceGrad(f.context, segment::Reduction::mean, mean, nullptr, segments, rows, "test");
      const Tensor ofMax = segment::reduceGrad(f.context, segment::Reduction::sum, max.values, &max.rows, segments, rows, "test");
      f.pool.finish();
      for (int64_t s = 0; s < count; s++) {
        const int32_t first = offsets[static_cast<size_t>(s)], last = offsets[static_cast<size_t>(s) + 1];
        for (int64_t c = 0; c < inner; c++) {
          double total = 0, best = -2;
          for (int32_t i = first; i < last; i++) {
            const int64_t row = order[static_cast<size_t>(i)];
            total += x.data<double>()[row * inner + c];
            best = std::max(best, x.data<double>()[row * inner + c]);
            CHECK(grad.data<double>()[row * inner + c] == mean.data<double>()[s * inner + c] / (last - first));
            CHECK(ofMax.data<double>()[row * inner + c] == (max.rows.data<int32_t>()[s * inner + c] == row ? max.values.data<double>()[s * inner + c] : 0));
          }
          CHECK(std::abs(sum.data<double>()[s * inner + c] - total) <= 1e-12);
          CHECK(std::abs(mean.data<double>()[s * inner + c] - total / (last - first)) <= 1e-12);
          CHECK(max.values.data<double>()[s * inner + c] == best);
          CHECK(x.data<double>()[max.rows.data<int32_t>()[s * inner + c] * inner + c] == best);
        }
      }
    }
  }
}

TEST(serializationIsAStableOrderOfTheCodes) {
  Fixture f;
  for (const int64_t n : {0, 1, 63, 64, 65, 9000}) {
    for (const int64_t depth : {1, 5, 16}) {
      for (int32_t curve = 0; curve < static_cast<int32_t>(serialize::Curve::count); curve++) {
        std::vector<int32_t> coordinates, batch;
        for (int64_t i = 0; i < 3 * n; i++) coordinates.push_back(static_cast<int32_t>(f.random() % (1u << depth)));
        for (int64_t i = 0; i < n; i++) batch.push_back(static_cast<int32_t>(f.random() % 3));
        const serialize::Serialization out =
            serialize::serialize(f.context, f.integers(coordinates, {n, 3}), f.integers(batch, {n}), static_cast<serialize::Curve>(curve), depth, "test");
        const int64_t* code = out.code.data<int64_t>();
        const int32_t* order = out.order.data<int32_t>();
        for (int64_t i = 0; i < n; i++) {
          CHECK(code[i] >> 3 * depth == batch[static_cast<size_t>(i)]);
          CHECK(out.inverse.data<int32_t>()[order[i]] == i);
          if (i > 0) CHECK(code[order[i - 1]] < code[order[i]] || (code[order[i - 1]] == code[order[i]] && order[i - 1] < order[i]));
        }
      }
    }
  }
}

}  // namespace
