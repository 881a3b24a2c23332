// A queue of parallel regions and the threads that work on it. Regions run one after the other, in the order in which they were
// queued; how one is cut into parts depends on the number of threads alone, never on who computes a part or when, so that the
// same thread count gives the same bits. Each thread has a run of neighbouring parts of its own, which stay in its caches from
// one region to the next, and takes of the others' when it is done: one that is slow, or busy elsewhere, is left fewer.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "cpu_mask.h"

namespace md {

/// Its functions are for one thread, the caller, which is thread 0 of threads().
class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_.load(std::memory_order_relaxed); }

  /// Of `threads` the caller is one. Workers that are not wanted sleep; only where there are too few do new ones start, since
  /// Linux leaves a new thread on its creator's core for milliseconds.
  void resize(int threads);

  /// Runs task(part, thread) for part = 0 … parts-1 on threads 0 … min(parts, threads())-1 when all that was queued before is
  /// done, and returns sooner: the caller takes parts only in finish(), or to make room in the queue. `task` must not throw,
  /// and owns what it reads, but for tensors' elements: whoever reuses their memory queues up behind it.
  void queue(int parts, std::function<void(int, int)> task);

  /// Returns when all that was queued is done, as it must be before the caller reads or writes elements itself.
  void finish();

  /// Whether nothing is left to be done.
  bool idle() const { return done_.load(std::memory_order_acquire) == queued(); }

  /// Regions that were queued so far; finish(of some) returns when the first so many are done.
  int64_t queued() const;
  void finish(int64_t regions);

  /// The same for a task that lives until this returns, which is when it is done.
  void run(int parts, void (*task)(void*, int, int), void* data);

 private:
  // Sequentially consistent: either the caller sees `sleeping`, or the worker sees `queued_` before it sleeps.
  struct alignas(64) Worker {
    std::atomic<bool> sleeping{false};
    std::mutex mutex;
    std::condition_variable wake;
    std::thread thread;

    CpuMask allowed;  // as it was when the worker went to sleep

    void wakeUp();
  };

  /// The parts of a thread that nobody has taken: next to end - 1.
  struct alignas(64) Share {
    std::atomic<int> next{0};
    int end = 0;
  };

  struct alignas(64) Region {
    std::function<void(int, int)> task;
    int sharing = 0;             // threads that take part
    std::vector<Share> shares;   // by thread
    std::atomic<int> left{0};    // parts that are not done
    std::atomic<int> inside{0};  // threads that look for parts here
  };

  /// The region that a thread looked into last, and how often it has found nothing to do since.
  struct Turn {
    int64_t region = -1;
    int spins = 0;
  };

  void start(int threads);
  void stop();
  void takeParts(int64_t index, int thread);
  void takeOrWait(int64_t next, int thread, Turn& turn);
  void workUntil(int64_t index);
  void work(int thread, Worker& own);
  void sleep(int thread, Worker& own);
  Region& at(int64_t index) { return regions_[static_cast<size_t>(index) % kRegions]; }

  static constexpr size_t kRegions = 16;  // that the caller may be ahead by
  std::deque<Worker> workers_;     // of threads 1, 2, …
  std::atomic<int> threads_{1};    // that are wanted
  std::unique_ptr<Region[]> regions_;
  std::atomic<int64_t> queued_{0};  // regions so far
  std::atomic<int64_t> done_{0};    // the first so many of them
  std::atomic<bool> stopping_{false};
};

/// Parts a thread that even out what slows a thread down for a while: interrupts, other processes, neighbours on the host.
constexpr int64_t kPartsPerThread = 8;

/// Parts of some `grain` items or more that n items are cut into.
inline int partsOf(const ThreadPool& pool, int64_t n, int64_t grain) {
  const int64_t most = grain > 0 ? (n + grain - 1) / grain : n, enough = kPartsPerThread * pool.threads();
  return static_cast<int>(most < enough ? most : enough);
}

/// Where part `part` of n items in `parts` parts begins, and n for part = parts. The whole number of parts that threads may get
/// become shorter towards the end of each thread's run, so that nobody waits long for the last one.
inline int64_t cutAt(int64_t n, int64_t part, int64_t parts, int64_t threads) {
  constexpr int64_t kBegins[kPartsPerThread + 1] = {0, 4, 8, 11, 14, 16, 18, 19, 20};
  const int64_t each = parts / threads;
  if (each * threads != parts || each == 0 || kPartsPerThread % each != 0) return n * part / parts;
  return n * (part / each * kBegins[kPartsPerThread] + kBegins[part % each * (kPartsPerThread / each)]) / (kBegins[kPartsPerThread] * threads);
}

/// f(part, thread) for `parts` parts, each taken by whichever thread is free; `thread` names scratch of one's own. `f` must
/// not throw.
template <class F>
void shareOut(ThreadPool& pool, int64_t parts, F&& f) {
  if (parts == 1) {
    pool.finish();
    return f(int64_t{0}, int64_t{0});
  }
  pool.run(static_cast<int>(parts), [](void* data, int part, int thread) { (*static_cast<std::remove_reference_t<F>*>(data))(int64_t{part}, int64_t{thread}); }, &f);
}

/// f(begin, end) over [0, n) in parts of some `grain` items or more, which may be more parts than threads; `f` must not throw.
template <class F>
void parallelFor(ThreadPool& pool, int64_t n, int64_t grain, F&& f) {
  if (n <= 0) return;
  const int64_t parts = partsOf(pool, n, grain);
  shareOut(pool, parts, [&](int64_t part, int64_t) { f(cutAt(n, part, parts, pool.threads()), cutAt(n, part + 1, parts, pool.threads())); });
}

/// shareOut that returns before `f` is done: see ThreadPool::queue for what it may refer to.
template <class F>
void shareOutLater(ThreadPool& pool, int64_t parts, F f) {
  pool.queue(static_cast<int>(parts), [f = std::move(f)](int part, int thread) mutable { f(int64_t{part}, int64_t{thread}); });
}

/// Of so small a part of a grain nobody else needs to be told: it is done sooner.
constexpr int64_t kAtOnce = 16;

/// parallelFor that returns before `f` is done, but for few items where nothing else is to be done.
template <class F>
void parallelForLater(ThreadPool& pool, int64_t n, int64_t grain, F f) {
  if (n <= 0) return;
  if (n <= grain / kAtOnce && pool.idle()) {
    f(int64_t{0}, n);
    return;
  }
  const int64_t parts = partsOf(pool, n, grain);
  shareOutLater(pool, parts, [f = std::move(f), n, parts, threads = pool.threads()](int64_t part, int64_t) mutable {
    f(cutAt(n, part, parts, threads), cutAt(n, part + 1, parts, threads));
  });
}

}  // namespace md
