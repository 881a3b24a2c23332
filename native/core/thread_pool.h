// Fork-join pool. Work is cut into equal contiguous parts, one a thread, so that the same thread count gives the
// same bits. The caller takes over the parts whose thread has not woken up by the time its own is done.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <thread>

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

  /// Runs task(data, part) for part = 0 … parts-1, parts <= threads(). Not reentrant; tasks must not throw.
  void run(int parts, void (*task)(void*, int), void* data);

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

  void start(int threads);
  void stop();
  void work(int part, Worker& own);
  void finish(int part);

  std::deque<Worker> workers_;
  std::atomic<int> pending_{0};
  void (*task_)(void*, int) = nullptr;
  void* data_ = nullptr;
  std::atomic<bool> stopping_{false};
};

/// f(begin, end) over [0, n) in at most pool.threads() parts of at least `grain` items; `f` must not throw.
template <class F>
void parallelFor(ThreadPool& pool, int64_t n, int64_t grain, F&& f) {
  if (n <= 0) return;
  const int64_t most = grain > 0 ? (n + grain - 1) / grain : n;
  const int parts = static_cast<int>(most < pool.threads() ? most : pool.threads());
  if (parts <= 1) {
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
      [](void* data, int part) {
        auto& j = *static_cast<Job*>(data);
        j.f(j.n * part / j.parts, j.n * (part + 1) / j.parts);
      },
      &job);
}

}  // namespace md
