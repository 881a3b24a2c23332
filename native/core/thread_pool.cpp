#include "thread_pool.h"

#include "../isa/pause.h"

namespace md {
namespace {
constexpr int kIdleSpins = 40000;  // 0.5 to 2 ms: waking costs more than the gap between two kernels of a training step
constexpr int kWaitSpins = 4000;
}

ThreadPool::ThreadPool(int threads) { start(threads); }
ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::start(int threads) {
  stopping_ = false;
  for (int part = 1; part < threads; part++) {
    Worker& worker = workers_.emplace_back();
    worker.thread = std::thread([this, part, &worker] { work(part, worker); });
  }
}

void ThreadPool::stop() {
  stopping_ = true;
  for (Worker& worker : workers_) {
    worker.wakeUp();
    worker.thread.join();
  }
  workers_.clear();
}

void ThreadPool::resize(int threads) {
  stop();
  start(threads);
}

void ThreadPool::Worker::wakeUp() {
  if (!sleeping) return;
  std::lock_guard lock(mutex);
  if (sleeping) allowed.applyWithoutThisCore(thread);
  wake.notify_one();
}

void ThreadPool::Worker::sleep(const std::atomic<bool>& stopping) {
  std::unique_lock lock(mutex);
  allowed.readOwn();
  sleeping = true;
  wake.wait(lock, [&] { return posted || stopping; });
  sleeping = false;
  allowed.applyToOwn();
}

void ThreadPool::run(int parts, void (*task)(void*, int), void* data) {
  task_ = task;
  data_ = data;
  pending_.store(parts - 1, std::memory_order_relaxed);
  for (int part = 1; part < parts; part++) {
    Worker& worker = workers_[static_cast<size_t>(part - 1)];
    worker.posted = true;
    worker.wakeUp();
  }
  if (parts > 0) task(data, 0);
  for (int part = 1; part < parts; part++) {
    if (workers_[static_cast<size_t>(part - 1)].claim()) finish(part);
  }
  for (int spin = 0; pending_.load(std::memory_order_acquire) > 0; spin++) {
    if (spin < kWaitSpins) {
      pauseSpinning();
    } else {
      std::this_thread::yield();
    }
  }
}

void ThreadPool::finish(int part) {
  task_(data_, part);
  pending_.fetch_sub(1, std::memory_order_release);
}

void ThreadPool::work(int part, Worker& own) {
  while (!stopping_) {
    for (int spin = 0; spin < kIdleSpins && !own.posted.load(std::memory_order_relaxed); spin++) pauseSpinning();
    if (!own.posted && !stopping_) own.sleep(stopping_);
    if (own.claim()) finish(part);
  }
}

}  // namespace md
