#ifdef __linux__
#include <pthread.h>
#include <sched.h>
#endif
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstring>
#include <numeric>
#include <thread>

#include "../core/philox.h"
#include "../core/slots.h"
#include "../core/views.h"
#include "check.h"

namespace {

using namespace md;

struct Fixture {
  Allocator allocator;
  ThreadPool pool{3};
  Context context{allocator, pool};

  Tensor iota(const Dims& shape) {
    Tensor out = empty(context, DType::i32, shape, "iota");
    pool.finish();
    std::iota(out.data<int32_t>(), out.data<int32_t>() + out.numel(), 0);
    return out;
  }
};

TEST(allocatorReusesAndCounts) {
  Allocator allocator;
  const Block first = allocator.allocate(1000, "test");
  const size_t live = allocator.stats().liveBytes;
  CHECK(live >= 1000);
  allocator.release(first, 1000);
  CHECK(allocator.stats().liveBytes == 0 && allocator.stats().peakBytes == live);
  const Block second = allocator.allocate(990, "test");
  CHECK(second.data != nullptr && allocator.stats().peakBytes == live);
  allocator.release(second, 990);
  allocator.flush();
  CHECK(allocator.stats().cachedBytes == 0);
}

#if !defined(__SANITIZE_ADDRESS__)
TEST(allocatorTakesALittleLargerBlockRatherThanANewOne) {
  Allocator allocator;
  const Block large = allocator.allocate(14 << 10, "test");
  allocator.release(large, 14 << 10);
  const Block close = allocator.allocate(10 << 10, "test");
  CHECK(close.data == large.data && close.size == large.size && allocator.stats().liveBytes == 10 << 10);
  allocator.release(close, 10 << 10);
  const Block small = allocator.allocate(8 << 10, "test");
  CHECK(small.data != large.data && allocator.stats().cachedBytes == large.size);
  allocator.release(small, 8 << 10);
  CHECK(allocator.stats().liveBytes == 0);
}
#endif

TEST(allocatorRefusesBeyondItsLimit) {
  Allocator allocator;
  allocator.setLimit(1 << 20);
  CHECK(tests::throwsKind(ErrorKind::outOfMemory, [&] { allocator.allocate(2 << 20, "test"); }));
  CHECK(allocator.stats().liveBytes == 0);
}

// How a process ends that writes a byte `at` of a block of `bytes` and releases it.
int endAfterWriting(size_t bytes, std::ptrdiff_t at) {
  const pid_t child = fork();
  if (child == 0) {
    close(STDERR_FILENO);
    Allocator allocator(guardedMemory());
    const Block block = allocator.allocate(bytes, "test");
    static_cast<char*>(block.data)[at] = 1;
    allocator.release(block, bytes);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

TEST(guardBandsEndAProcessThatWritesBesideABlock) {
  for (const std::ptrdiff_t inside : {0, 5, 9}) CHECK(endAfterWriting(10, inside) == 0);
  for (const std::ptrdiff_t beside : {-1, -64, 10, 11, 64, 200}) {
    const int status = endAfterWriting(10, beside);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
  }
}

TEST(poolRunsEveryItemOnceAcrossResizes) {
  ThreadPool pool(2);
  for (int threads : {2, 5, 1, 3, 2, 5}) {
    pool.resize(threads);
    CHECK(pool.threads() == threads);
    for (int round = 0; round < 200; round++) {
      std::atomic<int64_t> total{0};
      parallelFor(pool, 1000, 1, [&](int64_t begin, int64_t end) { total += (begin + end - 1) * (end - begin) / 2; });
      CHECK(total == 499500);
    }
    // Workers that are awake but no longer wanted take nothing.
    std::atomic<int> outside{0};
    shareOut(pool, 1000, [&](int64_t, int64_t thread) { outside += thread >= threads; });
    CHECK(outside == 0);
  }
}

TEST(poolRunsEveryPartOnceWhetherItsThreadIsAwakeOrAsleep) {
  ThreadPool pool(4);
  for (int round = 0; round < 300; round++) {
    if (round % 30 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const int parts = 1 + round % 4;
    int runs[4] = {};  // not atomic: a part that ran twice, or after the return, is a race that the sanitizer sees
    pool.run(parts, [](void* data, int part, int) { static_cast<int*>(data)[part]++; }, runs);
    for (int part = 0; part < 4; part++) CHECK(runs[part] == (part < parts));
  }
}

TEST(poolLeavesPartsToThreadsThatAreFree) {
  ThreadPool pool(3);
  constexpr int kParts = 40;
  for (int round = 0; round < 100; round++) {
    int runs[kParts] = {}, byThread[3] = {};  // not atomic, as above
    shareOut(pool, kParts, [&](int64_t part, int64_t thread) {
      if (part == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      runs[part]++;
      byThread[thread]++;
    });
    for (int part = 0; part < kParts; part++) CHECK(runs[part] == 1);
    CHECK(byThread[0] + byThread[1] + byThread[2] == kParts);
  }
}

TEST(poolRunsQueuedRegionsInOrderAndEachPartOnce) {
  constexpr int kRegions = 200, kMost = 11;
  for (int threads = 1; threads <= 4; threads++) {
    ThreadPool pool(threads);
    std::atomic<int> done[kRegions] = {};
    std::atomic<int> early{0}, outside{0};
    const auto partsOf = [](int region) { return region * 7 % (kMost + 1); };  // none, one, fewer than threads, and more
    for (int region = 0; region < kRegions; region++) {
      const int parts = partsOf(region);
      pool.queue(parts, [&, region, parts](int part, int thread) {
        for (int before = std::max(0, region - 20); before < region; before++) {
          if (done[before] != partsOf(before)) early++;
        }
        if (part < 0 || part >= parts || thread < 0 || thread >= std::min(parts, pool.threads())) outside++;
        if (part % 3 == 0) std::this_thread::yield();
        done[region]++;
      });
      if (region % 50 == 49) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    pool.finish();
    CHECK(early == 0 && outside == 0);
    for (int region = 0; region < kRegions; region++) CHECK(done[region] == partsOf(region));
  }
}

TEST(poolRunsFewItemsAtOnceUnlessTheyHaveToWait) {
  ThreadPool pool(2);
  constexpr int64_t kItems = 3, kGrain = kItems * kAtOnce;
  int64_t items = 0;
  const auto few = [&](int64_t begin, int64_t end) { items += end - begin; };
  parallelForLater(pool, kItems, kGrain, few);
  CHECK(items == kItems);

  std::atomic<bool> go{false};
  pool.queue(2, [&](int, int) {
    for (int i = 0; i < 5000 && !go; i++) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
  parallelForLater(pool, kItems, kGrain, few);
  CHECK(!pool.idle() && items == kItems);
  go = true;
  pool.finish();
  CHECK(pool.idle() && items == 2 * kItems);
}

TEST(poolRunsQueuedRegionsWhileTheCallerIsElsewhere) {
  ThreadPool pool(2);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // the worker falls asleep
  for (const int parts : {1, 6}) {
    std::atomic<bool> go{false};
    std::atomic<int> done{0};
    pool.queue(parts, [&](int, int) {
      for (int i = 0; i < 5000 && !go; i++) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      done++;
    });
    CHECK(done == 0);
    go = true;
    for (int i = 0; i < 5000 && done < parts; i++) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    CHECK(done == parts);
    pool.finish();
  }
}

TEST(poolFinishesWhatIsQueuedBeforeItRunsResizesOrEnds) {
  std::atomic<int> parts{0};
  const auto slow = [&](int, int) {
    std::this_thread::sleep_for(std::chrono::microseconds(200));
    parts++;
  };
  {
    ThreadPool pool(3);
    pool.queue(9, slow);
    int seen = 0;
    parallelFor(pool, 1, 1, [&](int64_t, int64_t) { seen = parts; });
    CHECK(seen == 9);
    pool.queue(9, slow);
    pool.resize(2);
    CHECK(parts == 18 && pool.threads() == 2);
    pool.queue(9, slow);
  }
  CHECK(parts == 27);
}

TEST(copiesWaitForWhatIsQueued) {
  Fixture f;
  const Tensor x = f.iota({1000}), y = f.iota({1000});
  int32_t* const values = x.data<int32_t>();
  const auto fill = [&](int32_t value) {
    f.pool.queue(4, [values, value](int part, int) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      std::fill_n(values + 250 * part, 250, value);
    });
  };
  fill(3);
  copyInto(f.context, x, y.raw());
  f.pool.finish();
  CHECK(y.data<int32_t>()[0] == 3 && y.data<int32_t>()[999] == 3);
  fill(5);
  clear(f.context, x, "clear");
  f.pool.finish();
  CHECK(values[0] == 0 && values[999] == 0);
  fill(7);
  copyFromHost(f.context, y.raw(), x, "copy");
  f.pool.finish();
  CHECK(values[0] == 3 && values[999] == 3);
}

TEST(memoryGoesBackToItsSourceWhenItsUsersAreDone) {
  Allocator allocator;
  ThreadPool pool(2);
  allocator.waitWith([&] { pool.finish(); });
  std::atomic<int> written{0};
  const Block block = allocator.allocate(4096, "test");
  pool.queue(2, [&, data = static_cast<char*>(block.data)](int part, int) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::memset(data + 2048 * part, 1, 2048);
    written++;
  });
  allocator.release(block, 4096);
  allocator.flush();
  CHECK(written == 2);
}

#ifdef __linux__
TEST(aWokenThreadMayRunOnEveryCoreAgain) {
  ThreadPool pool(2);
  cpu_set_t allowed, found[2];
  CHECK(pthread_getaffinity_np(pthread_self(), sizeof allowed, &allowed) == 0);
  for (int i = 0; i < 5; i++) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    pool.run(
        2, [](void* data, int part, int) { pthread_getaffinity_np(pthread_self(), sizeof(cpu_set_t), static_cast<cpu_set_t*>(data) + part); }, found);
    CHECK(CPU_EQUAL(&found[0], &allowed) && CPU_EQUAL(&found[1], &allowed));
  }
}
#endif

TEST(reshapeSharesStorageWhereStridesAllow) {
  Fixture f;
  const Tensor x = f.iota({4, 6});
  const Tensor turned = permuteView(x, {1, 0}, "permute");
  CHECK(reshapeView(f.context, x, {2, 2, 6}, "reshape").storage == x.storage);
  CHECK(reshapeView(f.context, turned, {2, 3, 4}, "reshape").storage == x.storage);
  const Tensor copy = reshapeView(f.context, turned, {24}, "reshape");
  f.pool.finish();
  CHECK(copy.storage != x.storage && copy.data<int32_t>()[1] == 6 && copy.data<int32_t>()[4] == 1);
  CHECK(tests::throwsKind(ErrorKind::shape, [&] { reshapeView(f.context, x, {5, 5}, "reshape"); }));
}

TEST(slicesOfSlicesReadTheRightElements) {
  Fixture f;
  const Tensor x = f.iota({6, 5});
  const Tensor rows = sliceView(x, {1, 0}, {3, 5}, {2, 1}, "slice");
  const Tensor part = sliceView(rows, {1, 2}, {2, 2}, {1, 2}, "slice");
  const Tensor copy = contiguous(f.context, part, "contiguous");
  f.pool.finish();
  const int32_t expected[] = {17, 19, 27, 29};
  CHECK(std::memcmp(copy.raw(), expected, sizeof expected) == 0);
  CHECK(tests::throwsKind(ErrorKind::shape, [&] { sliceView(x, {4, 0}, {3, 5}, {1, 1}, "slice"); }));
  const Tensor spread = sliceAdjoint(f.context, copy, {3, 5}, {1, 2}, {1, 2}, "sliceGrad");
  f.pool.finish();
  CHECK(spread.data<int32_t>()[7] == 17 && spread.data<int32_t>()[14] == 29 && spread.data<int32_t>()[0] == 0);
}

TEST(expandRepeatsWithoutCopying) {
  Fixture f;
  const Tensor x = f.iota({3, 1});
  const Tensor wide = expandView(x, {2, 3, 4}, "expand");
  const Tensor copy = contiguous(f.context, wide, "contiguous");
  f.pool.finish();
  CHECK(wide.storage == x.storage && copy.data<int32_t>()[23] == 2);
  CHECK(tests::throwsKind(ErrorKind::shape, [&] { expandView(x, {4, 4}, "expand"); }));
}

TEST(slotsAreReusedAndRefusedAfterFree) {
  Fixture f;
  SlotTable slots;
  const int32_t slot = slots.add(f.iota({2}));
  slots.free(slot);
  CHECK(tests::throwsKind(ErrorKind::disposed, [&] { slots.at(slot, "test"); }));
  CHECK(tests::throwsKind(ErrorKind::disposed, [&] { slots.free(slot); }));
  CHECK(slots.add(f.iota({3})) == slot && slots.live() == 1);
}

// Known answers of Random123's kat_vectors for philox4x32-10.
TEST(philoxMatchesItsKnownAnswers) {
  const Philox4 zeros = philox(0, 0, 0);
  CHECK(zeros.v[0] == 0x6627e8d5u && zeros.v[1] == 0xe169c58du && zeros.v[2] == 0xbc57ac4cu && zeros.v[3] == 0x9b00dbd8u);
  const Philox4 ones = philox(~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0});
  CHECK(ones.v[0] == 0x408f276du && ones.v[1] == 0x41c83b0eu && ones.v[2] == 0xa20bc7c6u && ones.v[3] == 0x6d5451fdu);
}

}  // namespace
