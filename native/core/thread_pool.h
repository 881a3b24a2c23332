// Fork-join pool. How work is cut into parts depends on the number of threads alone, never on who computes a part or when,
// so that the same thread count gives the same bits. Each thread has a run of neighbouring parts of its own, which stay in
// its caches from one op to the next, and takes of the others' when it is done: one that is slow, or has not woken up yet, is
// left fewer. A caller may go on before all parts are done, and come back for those that are left.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

#include "cpu_mask.h"

namespace md {

class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// Stops the workers and starts `threads - 1` new ones; the caller is the remaining one.
  void resize(int threads);

  /// Runs task(data, part, thread) for part = 0 … parts-1 on the threads 0 … threads()-1, of which the caller is 0. Not
  /// reentrant; tasks must not throw.
  void run(int parts, void (*task)(void*, int, int), void* data);

  /// As run, but returns as soon as the workers know of it: what they leave is for finish(), which every run begins with.
  /// Keeps `task` until then, and calls `done` on the caller's thread when it is gone.
  void begin(int parts, std::function<void(int, int)> task, std::function<void()> done);
  void finish();

 private:
  // Sequentially consistent: either the caller sees `sleeping`, or the worker sees `posted` before it sleeps.
  struct alignas(64) Worker {
    std::atomic<bool> posted{false};
    std::atomic<bool> sleeping{false};
    std::mutex mutex;
    std::condition_variable wake;
    std::thread thread;

    CpuMask allowed;  // as it was when the worker went to sleep

    bool claim() { return posted.load(std::memory_order_relaxed) && posted.exchange(false); }
    void wakeUp();
    void sleep(const std::atomic<bool>& stopping);
  };

  /// The parts of a thread that nobody has taken: next to end - 1.
  struct alignas(64) Share {
    std::atomic<int> next{0};
    int end = 0;
  };

  void start(int threads);
  void stop();
  void post(int parts, void (*task)(void*, int, int), void* data);
  void join();
  void work(int thread, Worker& own);
  void takeParts(int thread);

  std::deque<Worker> workers_;
  std::vector<Share> shares_;  // by thread
  int sharing_ = 0;            // threads that take part in the run
  void (*task_)(void*, int, int) = nullptr;
  void* data_ = nullptr;
  std::atomic<int> working_{0};  // workers that were posted and are not done
  std::atomic<bool> stopping_{false};
  std::function<void(int, int)> begun_;  // empty where nothing was begun, or all of it is done
  std::function<void()> done_;
};

/// Parts a thread that even out what slows a thread down for a while: interrupts, other processes, neighbours on the host.
constexpr int64_t kPartsPerThread = 8;

inline int partsOf(const ThreadPool& pool, int64_t n, int64_t grain) {
  const int64_t most = grain > 0 ? (n + grain - 1) / grain : n, enough = kPartsPerThread * pool.threads();
  return static_cast<int>(most < enough ? most : enough);
}

/// f(begin, end) over [0, n) in parts of some `grain` items or more, which may be more parts than threads; `f` must not throw.
template <class F>
void parallelFor(ThreadPool& pool, int64_t n, int64_t grain, F&& f) {
  if (n <= 0) return;
  const int parts = partsOf(pool, n, grain);
  if (parts <= 1) {
    pool.finish();
    f(int64_t{0}, n);
    return;
  }
  struct Job {
    F& f;
    int64_t n;
    int parts;
  } job{f, n, parts};
  pool.run(
      parts,
      [](void* data, int part, int) {
        auto& j = *static_cast<Job*>(data);
        j.f(j.n * part / j.parts, j.n * (part + 1) / j.parts);
      },
      &job);
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

}  // namespace md
