#include "thread_pool.h"

#include "../isa/pause.h"

namespace md {
namespace {
constexpr int kSpins = 4000;  // a few microseconds: the gap between two kernels of a training step
}

ThreadPool::ThreadPool(int threads) { start(threads); }
ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::start(int threads) {
  stopping_ = false;
  const uint64_t seen = generation_.load(std::memory_order_relaxed);
  for (int part = 1; part < threads; part++) workers_.emplace_back([this, part, seen] { work(part, seen); });
}

void ThreadPool::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    generation_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  for (auto& worker : workers_) worker.join();
  workers_.clear();
}

void ThreadPool::resize(int threads) {
  stop();
  start(threads);
}

void ThreadPool::run(int parts, void (*task)(void*, int), void* data) {
  if (parts <= 1) {
    if (parts == 1) task(data, 0);
    return;
  }
  pending_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
  {
    std::lock_guard lock(mutex_);
    task_ = task;
    data_ = data;
    parts_ = parts;
    generation_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  task(data, 0);
  for (int spin = 0; pending_.load(std::memory_order_acquire) > 0; spin++) {
    if (spin < kSpins) {
      pauseSpinning();
    } else {
      std::this_thread::yield();
    }
  }
}

// `seen` is the generation at the worker's start: a job posted before the thread runs is not missed.
void ThreadPool::work(int part, uint64_t seen) {
  for (;;) {
    for (int spin = 0; spin < kSpins && generation_.load(std::memory_order_acquire) == seen; spin++) pauseSpinning();
    if (generation_.load(std::memory_order_acquire) == seen) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return generation_.load(std::memory_order_relaxed) != seen; });
    }
    seen = generation_.load(std::memory_order_acquire);
    if (stopping_) return;
    if (part < parts_) task_(data_, part);
    pending_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace md
