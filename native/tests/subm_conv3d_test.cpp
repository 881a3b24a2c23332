#include <array>
#include <cmath>
#include <map>
#include <random>
#include <vector>

#include "../ops/subm_conv3d/op.h"
#include "../ops/voxel_hash/op.h"
#include "check.h"

namespace {

using namespace md;
using gathered_gemm::PairMap;
using Site = std::array<int64_t, 4>;

struct Fixture {
  Allocator allocator;
  ThreadPool pool{3};
  Context context{allocator, pool};
  std::mt19937 random{11};

  Tensor uniform(DType dtype, const Dims& shape) {
    Tensor out = empty(context, dtype, shape, "test");
    pool.finish();
    for (int64_t i = 0; i < out.numel(); i++) {
      const double value = static_cast<double>(random() % 2001) / 1000 - 1;
      if (dtype == DType::f64) {
        out.data<double>()[i] = value;
      } else {
        out.data<float>()[i] = static_cast<float>(value);
      }
    }
    return out;
  }

  // About `points` voxels of two items around (base, base, base).
  voxel_hash::VoxelHash cloud(int64_t points, int64_t base) {
    Tensor positions = empty(context, DType::f64, {points, 3}, "test"), batch = empty(context, DType::i32, {points}, "test");
    pool.finish();
    for (int64_t i = 0; i < 3 * points; i++) positions.data<double>()[i] = static_cast<double>(base + static_cast<int64_t>(random() % 12)) + 0.5;
    for (int64_t i = 0; i < points; i++) batch.data<int32_t>()[i] = static_cast<int32_t>(random() % 2);
    return voxel_hash::build(context, positions, batch, {1, {0, 0, 0}}, "test");
  }

  PairMap pairs(const voxel_hash::VoxelHash& hash, int64_t size) {
    PairMap map = gathered_gemm::mapPairs(context, voxel_hash::neighboursOfVoxels(context, hash.keys, hash.table, size, "test"), hash.keys.numel(), false, "test");
    pool.finish();
    return map;
  }
};

std::vector<double> numbers(const Tensor& x) {
  std::vector<double> out;
  for (int64_t i = 0; i < x.numel(); i++) out.push_back(x.dtype == DType::f64 ? x.data<double>()[i] : static_cast<double>(x.data<float>()[i]));
  return out;
}

bool near(const Tensor& actual, const std::vector<double>& expected) {
  const std::vector<double> found = numbers(actual);
  double difference = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); i++) {
    difference += (found.at(i) - expected[i]) * (found.at(i) - expected[i]);
    norm += expected[i] * expected[i];
  }
  const double tolerance = actual.dtype == DType::f64 ? 1e-12 : 1e-5;
  return found.size() == expected.size() && std::sqrt(difference) <= tolerance * std::sqrt(norm) + 1e-12;
}

struct Case {
  int64_t points, base, size, in, out;
  DType dtype;
};

TEST(submConv3dAgreesWithLoops) {
  // Around a border of the grid, of a column of the table, and of a block; channels below, at and beyond whole vectors.
  for (const Case& c : {Case{0, 0, 3, 4, 4, DType::f32}, Case{1, 0, 5, 3, 5, DType::f64}, Case{600, 0, 3, 7, 33, DType::f64}, Case{700, -6, 3, 36, 49, DType::f32},
                        Case{500, 20, 5, 5, 8, DType::f64}, Case{300, -65536, 5, 16, 1, DType::f32}, Case{900, 65524, 3, 1, 80, DType::f32}, Case{400, 0, 3, 67, 13, DType::f32}}) {
    Fixture f;
    const voxel_hash::VoxelHash hash = f.cloud(c.points, c.base);
    const int64_t voxels = hash.keys.numel(), kernels = c.size * c.size * c.size;
    const PairMap map = f.pairs(hash, c.size);
    const Tensor x = f.uniform(c.dtype, {voxels, c.in}), weight = f.uniform(c.dtype, {c.out, c.size, c.size, c.size, c.in});
    const Tensor bias = f.uniform(c.dtype, {c.out}), grad = f.uniform(c.dtype, {voxels, c.out});
    const std::vector<double> xs = numbers(x), ws = numbers(weight), bs = numbers(bias), gs = numbers(grad);

    std::map<Site, int64_t> sites;
    const int32_t* at = hash.coordinates.data<int32_t>();
    for (int64_t v = 0; v < voxels; v++) sites[{at[4 * v], at[4 * v + 1], at[4 * v + 2], at[4 * v + 3]}] = v;
    std::vector<double> out, inputGrad(xs.size()), weightGrad(ws.size());
    for (int64_t v = 0; v < voxels; v++) out.insert(out.end(), bs.begin(), bs.end());
    int64_t count = 0;
    for (const auto& [site, v] : sites) {
      for (int64_t k = 0; k < kernels; k++) {
        const int64_t reach = c.size / 2;
        const auto found = sites.find({site[0], site[1] + k / (c.size * c.size) - reach, site[2] + k / c.size % c.size - reach, site[3] + k % c.size - reach});
        if (found == sites.end()) continue;
        count++;
        for (int64_t o = 0; o < c.out; o++) {
          for (int64_t i = 0; i < c.in; i++) {
            const auto w = static_cast<size_t>((o * kernels + k) * c.in + i), to = static_cast<size_t>(v * c.out + o), from = static_cast<size_t>(found->second * c.in + i);
            out[to] += ws[w] * xs[from];
            inputGrad[from] += ws[w] * gs[to];
            weightGrad[w] += xs[from] * gs[to];
          }
        }
      }
    }
    CHECK(map.inputs.numel() == count);
    std::vector<Tensor> first;
    for (const int threads : {1, 3, 7}) {
      f.pool.resize(threads);
      const auto [gradOfX, gradOfWeight] = subm_conv3d::submConv3dGrad(f.context, map, x, weight, grad, true, true, "test");
      const auto [alone, none] = subm_conv3d::submConv3dGrad(f.context, map, x, weight, grad, true, false, "test");
      CHECK(!none.storage);
      const std::vector<Tensor> results{subm_conv3d::submConv3d(f.context, map, x, weight, &bias, "test"), gradOfX, gradOfWeight};
      f.pool.finish();
      CHECK(near(results[0], out));
      CHECK(near(results[1], inputGrad));
      CHECK(near(results[2], weightGrad));
      if (first.empty()) first = results;
      CHECK(tests::sameBits(alone, gradOfX));
      for (size_t i = 0; i < 3; i++) CHECK(tests::sameBits(results[i], first[i]));
    }
  }
}

TEST(submConv3dRefusesMapsThatLeaveTheirTensors) {
  const auto refused = [](auto&& spoil) {
    Fixture f;
    const voxel_hash::VoxelHash hash = f.cloud(800, 0);
    PairMap map = f.pairs(hash, 3);
    const int64_t voxels = hash.keys.numel();
    CHECK(voxels > gathered_gemm::kBlockRows);
    const Tensor x = f.uniform(DType::f32, {voxels, 5}), weight = f.uniform(DType::f32, {4, 3, 3, 3, 5}), grad = f.uniform(DType::f32, {voxels, 4});
    spoil(map, voxels);
    const auto fails = [](auto&& body) { return tests::throwsKind(ErrorKind::value, body) || tests::throwsKind(ErrorKind::shape, body); };
    return fails([&] { subm_conv3d::submConv3d(f.context, map, x, weight, nullptr, "test"); }) &&
           fails([&] { subm_conv3d::submConv3dGrad(f.context, map, x, weight, grad, true, false, "test"); }) &&
           fails([&] { subm_conv3d::submConv3dGrad(f.context, map, x, weight, grad, false, true, "test"); });
  };
  CHECK(!refused([](PairMap&, int64_t) {}));
  CHECK(refused([](PairMap& map, int64_t voxels) { map.inputs.data<int32_t>()[70] = static_cast<int32_t>(voxels); }));
  CHECK(refused([](PairMap& map, int64_t) { map.inputs.data<int32_t>()[0] = -1; }));
  CHECK(refused([](PairMap& map, int64_t) { map.outputs.data<int32_t>()[3] = gathered_gemm::kBlockRows; }));
  CHECK(refused([](PairMap& map, int64_t) { map.outputs.data<int32_t>()[map.outputs.numel() - 1] = gathered_gemm::kBlockRows - 1; }));
  CHECK(refused([](PairMap& map, int64_t voxels) { map.outputs.data<int32_t>()[map.outputs.numel() - 1] = static_cast<int32_t>(voxels); }));
  CHECK(refused([](PairMap& map, int64_t) { map.starts.data<int32_t>()[1] = map.starts.data<int32_t>()[2] + 1; }));
  CHECK(refused([](PairMap& map, int64_t) { map.starts.data<int32_t>()[map.starts.numel() - 1] += 1; }));
  CHECK(refused([](PairMap& map, int64_t) { map.starts.shape[0] -= 1; }));
}

TEST(neighbourMapsComeInSizesThreeAndFive) {
  Fixture f;
  const voxel_hash::VoxelHash hash = f.cloud(10, 0);
  for (const int64_t size : {-3, 0, 1, 2, 4, 7}) {
    CHECK(tests::throwsKind(ErrorKind::value, [&] { voxel_hash::neighboursOfVoxels(f.context, hash.keys, hash.table, size, "test"); }));
  }
}

}  // namespace
