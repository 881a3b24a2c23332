#include <array>
#include <cmath>
#include <map>
#include <random>
#include <vector>

#include "../ops/local_kernel_query/op.h"
#include "../ops/voxel_hash/op.h"
#include "check.h"

namespace {

using namespace md;
using Key = std::array<int64_t, 4>;

constexpr double kVoxelSize = 0.25;
constexpr voxel_hash::Grid kGrid{kVoxelSize, {0, 0, 0}};

struct Cloud {
  Tensor positions, batch;
  std::vector<Key> keys;
};

struct Fixture {
  Allocator allocator;
  ThreadPool pool{3};
  Context context{allocator, pool};
  std::mt19937 random{5};

  int64_t draw(int64_t low, int64_t high) { return low + static_cast<int64_t>(random() % static_cast<uint32_t>(high - low + 1)); }

  // Points in the middles of voxels near (base, base, base), of items 0 to 2; `far` puts some where no key reaches.
  Cloud cloud(int64_t count, int64_t base, bool far) {
    Cloud out{empty(context, DType::f64, {count, 3}, "test"), empty(context, DType::i32, {count}, "test"), {}};
    pool.finish();
    for (int64_t i = 0; i < count; i++) {
      Key key{draw(0, 2)};
      for (int axis = 0; axis < 3; axis++) {
        key[static_cast<size_t>(axis) + 1] = far && draw(0, 60) == 0 ? 1000000000 : base + draw(-4, 4);
        if (!far) key[static_cast<size_t>(axis) + 1] = std::min<int64_t>(65535, std::max<int64_t>(-65536, key[static_cast<size_t>(axis) + 1]));
        out.positions.data<double>()[3 * i + axis] = (static_cast<double>(key[static_cast<size_t>(axis) + 1]) + 0.5) * kVoxelSize;
      }
      out.batch.data<int32_t>()[i] = static_cast<int32_t>(key[0]);
      out.keys.push_back(key);
    }
    return out;
  }

  Tensor uniform(const Dims& shape) {
    Tensor out = empty(context, DType::f64, shape, "test");
    pool.finish();
    for (int64_t i = 0; i < out.numel(); i++) out.data<double>()[i] = static_cast<double>(draw(-1000, 1000)) / 1000;
    return out;
  }
};

int32_t indexOf(const std::map<Key, int32_t>& voxels, Key key, int offset) {
  key[1] += offset / 9 - 1;
  key[2] += offset / 3 % 3 - 1;
  key[3] += offset % 3 - 1;
  const auto found = voxels.find(key);
  return found == voxels.end() ? -1 : found->second;
}

bool near(const Tensor& actual, const std::vector<double>& expected) {
  if (actual.numel() != static_cast<int64_t>(expected.size())) return false;
  for (size_t i = 0; i < expected.size(); i++) {
    if (!(std::abs(actual.data<double>()[i] - expected[i]) <= 1e-10)) return false;
  }
  return true;
}

TEST(voxelHashAgreesWithAMap) {
  Fixture f;
  for (const int64_t base : {0, 31, -33, 65535, -65536, 40000}) {
    for (const int64_t count : {0, 1, 300, 9000, 120000}) {  // the last in more parts than there are threads
      const Cloud points = f.cloud(count, base, false), queries = f.cloud(200, base, true);
      const voxel_hash::VoxelHash hash = voxel_hash::build(f.context, points.positions, points.batch, kGrid, "test");
      std::map<Key, std::vector<int32_t>> members;
      for (size_t i = 0; i < points.keys.size(); i++) members[points.keys[i]].push_back(static_cast<int32_t>(i));
      CHECK(hash.keys.numel() == static_cast<int64_t>(members.size()));
      std::map<Key, int32_t> voxels;
      const int32_t* order = hash.pointOrder.data<int32_t>();
      for (const auto& [key, rows] : members) {
        const auto voxel = static_cast<int32_t>(voxels.size());
        voxels[key] = voxel;
        for (size_t axis = 0; axis < 4; axis++) CHECK(hash.coordinates.data<int32_t>()[4 * static_cast<size_t>(voxel) + axis] == key[axis]);
        for (const int32_t row : rows) CHECK(*order++ == row && hash.voxelOfPoint.data<int32_t>()[row] == voxel);
        CHECK(order - hash.pointOrder.data<int32_t>() == hash.voxelOffsets.data<int32_t>()[voxel + 1]);
      }
      const Tensor found = voxel_hash::lookup(f.context, queries.positions, queries.batch, hash.table, kGrid, "test");
      const Tensor around = voxel_hash::neighbours(f.context, queries.positions, queries.batch, hash.table, kGrid, "test");
      const Tensor own = voxel_hash::neighboursOfVoxels(f.context, hash.keys, hash.table, 3, "test");
      f.pool.finish();
      for (size_t q = 0; q < queries.keys.size(); q++) {
        CHECK(found.data<int32_t>()[q] == indexOf(voxels, queries.keys[q], 13));
        for (int k = 0; k < 27; k++) CHECK(around.data<int32_t>()[27 * q + static_cast<size_t>(k)] == indexOf(voxels, queries.keys[q], k));
      }
      for (const auto& [key, voxel] : voxels) {
        for (int k = 0; k < 27; k++) CHECK(own.data<int32_t>()[27 * voxel + k] == indexOf(voxels, key, k));
      }
    }
  }
}

TEST(localKernelQueryAgreesWithLoops) {
  Fixture f;
  for (const auto& [in, out] : {std::pair<int64_t, int64_t>{1, 1}, {7, 13}, {16, 8}, {33, 6}, {30, 70}, {72, 72}}) {
    const Cloud points = f.cloud(400, 0, false), queries = f.cloud(250, 0, true);
    const voxel_hash::VoxelHash hash = voxel_hash::build(f.context, points.positions, points.batch, kGrid, "test");
    const Tensor around = voxel_hash::neighbours(f.context, queries.positions, queries.batch, hash.table, kGrid, "test");
    const int64_t voxels = hash.keys.numel(), count = around.dim(0);
    const gathered_gemm::PairMap hits = gathered_gemm::mapPairs(f.context, around, voxels, false, "test");
    const Tensor means = f.uniform({voxels, in}), weight = f.uniform({27, out, in}), grad = f.uniform({count, out});
    std::vector<double> expected(static_cast<size_t>(count * out)), meansGrad(static_cast<size_t>(voxels * in)), weightGrad(static_cast<size_t>(27 * out * in));
    for (int64_t q = 0; q < count; q++) {
      for (int64_t k = 0; k < 27; k++) {
        const int64_t voxel = around.data<int32_t>()[27 * q + k];
        if (voxel < 0) continue;
        for (int64_t o = 0; o < out; o++) {
          for (int64_t i = 0; i < in; i++) {
            const double w = weight.data<double>()[(k * out + o) * in + i], x = means.data<double>()[voxel * in + i], g = grad.data<double>()[q * out + o];
            expected[static_cast<size_t>(q * out + o)] += w * x;
            meansGrad[static_cast<size_t>(voxel * in + i)] += w * g;
            weightGrad[static_cast<size_t>((k * out + o) * in + i)] += x * g;
          }
        }
      }
    }
    Tensor alone, meansAlone, weightAlone;
    for (const int threads : {1, 2, 3, 5}) {
      f.pool.resize(threads);
      const Tensor found = local_kernel_query::query(f.context, hits, count, means, weight, "test");
      const auto [ofMeans, ofWeight] = local_kernel_query::queryGrad(f.context, hits, means, weight, grad, true, true, "test");
      f.pool.finish();
      CHECK(near(found, expected));
      CHECK(near(ofMeans, meansGrad));
      CHECK(near(ofWeight, weightGrad));
      if (threads == 1) {
        alone = found;
        meansAlone = ofMeans;
        weightAlone = ofWeight;
      }
      CHECK(tests::sameBits(found, alone) && tests::sameBits(ofMeans, meansAlone) && tests::sameBits(ofWeight, weightAlone));
    }
  }
}

TEST(localKernelQueryRefusesMapsThatLeaveTheirTensors) {
  Fixture f;
  Tensor neighbours = empty(f.context, DType::i32, {2, 1}, "test");
  neighbours.data<int32_t>()[0] = 1;
  neighbours.data<int32_t>()[1] = 2;
  CHECK(tests::throwsKind(ErrorKind::value, [&] { gathered_gemm::mapPairs(f.context, neighbours, 2, false, "test"); }));
  const gathered_gemm::PairMap hits = gathered_gemm::mapPairs(f.context, neighbours, 3, false, "test");
  const Tensor weight = f.uniform({1, 2, 2});
  CHECK(tests::throwsKind(ErrorKind::value, [&] { local_kernel_query::query(f.context, hits, 2, f.uniform({2, 2}), weight, "test"); }));
  CHECK(tests::throwsKind(ErrorKind::value, [&] { local_kernel_query::query(f.context, hits, 1, f.uniform({3, 2}), weight, "test"); }));
  f.pool.finish();
  hits.starts.data<int32_t>()[1] = 5;
  CHECK(tests::throwsKind(ErrorKind::value, [&] { local_kernel_query::query(f.context, hits, 2, f.uniform({3, 2}), weight, "test"); }));
}

}  // namespace
