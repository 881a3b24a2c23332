#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include "../core/views.h"
#include "../ops/index/op.h"
#include "../ops/sort/op.h"
#include "check.h"

namespace {

using namespace md;

struct Fixture {
  Allocator allocator;
  ThreadPool pool{3};
  Context context{allocator, pool};
  std::mt19937 random{9};

  Tensor numbers(const Dims& shape, int range) {
    Tensor out = empty(context, DType::f32, shape, "test");
    pool.finish();
    for (int64_t i = 0; i < out.numel(); i++) out.data<float>()[i] = static_cast<float>(static_cast<int>(random() % static_cast<uint32_t>(2 * range + 1)) - range);
    return out;
  }
  Tensor indices(const Dims& shape, int64_t limit) {
    Tensor out = empty(context, DType::i64, shape, "test");
    pool.finish();
    for (int64_t i = 0; i < out.numel(); i++) out.data<int64_t>()[i] = static_cast<int64_t>(random() % static_cast<uint64_t>(limit));
    return out;
  }
};

TEST(sortIsStableForEveryLength) {
  Fixture f;
  for (const int64_t n : {1, 2, 31, 33, 500, 40000}) {
    for (const bool descending : {false, true}) {
      const Tensor x = f.numbers({2, n}, 40);
      const sort::Sorted sorted = sort::sort(f.context, x, 1, descending, "test");
      const sort::Sorted top = sort::topk(f.context, x, std::min<int64_t>(n, 9), 1, descending, "test");
      for (int64_t row = 0; row < 2; row++) {
        const float* values = x.data<float>() + row * n;
        std::vector<int64_t> order(static_cast<size_t>(n));
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return descending ? values[a] > values[b] : values[a] < values[b]; });
        for (int64_t i = 0; i < n; i++) {
          const int64_t from = order[static_cast<size_t>(i)];
          CHECK(sorted.indices.data<int64_t>()[row * n + i] == from && sorted.values.data<float>()[row * n + i] == values[from]);
          if (i < top.indices.dim(1)) CHECK(top.indices.data<int64_t>()[row * top.indices.dim(1) + i] == from);
        }
      }
    }
  }
}

TEST(gatherAndScatterAddFollowStrides) {
  Fixture f;
  const Tensor x = permuteView(f.numbers({5, 300, 4}, 100), {1, 2, 0}, "test");  // [300, 4, 5]
  for (int axis = 0; axis < 3; axis++) {
    Dims shape{200, 3, 4};
    shape[axis] = 7;
    const Tensor at = f.indices(shape, x.shape[axis]), source = f.numbers(shape, 100);
    const Tensor gathered = index::gather(f.context, x, at, axis, "test");
    const Tensor added = index::scatterAdd(f.context, x, at, source, axis, "test");
    Tensor expected = empty(f.context, DType::f32, x.shape, "test");
    copyInto(f.context, x, expected.raw());
    f.pool.finish();
    int64_t p = 0;
    for (int64_t a = 0; a < shape[0]; a++) {
      for (int64_t b = 0; b < shape[1]; b++) {
        for (int64_t c = 0; c < shape[2]; c++, p++) {
          int64_t place[3] = {a, b, c};
          place[axis] = at.data<int64_t>()[p];
          CHECK(gathered.data<float>()[p] == x.data<float>()[place[0] * x.stride[0] + place[1] * x.stride[1] + place[2] * x.stride[2]]);
          expected.data<float>()[(place[0] * 4 + place[1]) * 5 + place[2]] += source.data<float>()[p];
        }
      }
    }
    CHECK(std::equal(expected.data<float>(), expected.data<float>() + expected.numel(), added.data<float>()));
  }
}

TEST(indexAddIsTheSumOfRowsInOrder) {
  Fixture f;
  for (const int64_t outer : {1, 6}) {
    const Tensor x = f.numbers({outer, 11, 9}, 5), at = f.indices({7000}, 11), source = f.numbers({outer, 7000, 9}, 5);
    const Tensor added = index::indexAdd(f.context, x, at, source, 1, "test");
    f.pool.finish();
    std::vector<float> expected(x.data<float>(), x.data<float>() + x.numel());
    for (int64_t o = 0; o < outer; o++) {
      for (int64_t k = 0; k < 7000; k++) {
        for (int64_t i = 0; i < 9; i++) {
          expected[static_cast<size_t>((o * 11 + at.data<int64_t>()[k]) * 9 + i)] += source.data<float>()[(o * 7000 + k) * 9 + i];
        }
      }
    }
    CHECK(std::equal(expected.begin(), expected.end(), added.data<float>()));
  }
}

}  // namespace
