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
  shares_ = std::vector<Share>(static_cast<size_t>(threads));
  for (int thread = 1; thread < threads; thread++) {
    Worker& worker = workers_.emplace_back();
    worker.thread = std::thread([this, thread, &worker] { work(thread, worker); });
  }
}

void ThreadPool::stop() {
  finish();
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

void ThreadPool::run(int parts, void (*task)(void*, int, int), void* data) {
  finish();
  post(parts, task, data);
  join();
}

void ThreadPool::begin(int parts, std::function<void(int, int)> task, std::function<void()> done) {
  finish();
  begun_ = std::move(task);
  done_ = std::move(done);
  post(parts, [](void* begun, int part, int thread) { (*static_cast<std::function<void(int, int)>*>(begun))(part, thread); }, &begun_);
}

void ThreadPool::finish() {
  if (!begun_) return;
  join();
  begun_ = nullptr;
  done_();
}

void ThreadPool::post(int parts, void (*task)(void*, int, int), void* data) {
  task_ = task;
  data_ = data;
  sharing_ = parts < threads() ? parts : threads();
  for (int64_t thread = 0; thread < sharing_; thread++) {
    Share& share = shares_[static_cast<size_t>(thread)];
    share.next.store(static_cast<int>(parts * thread / sharing_), std::memory_order_relaxed);
    share.end = static_cast<int>(parts * (thread + 1) / sharing_);
  }
  const int helpers = sharing_ - 1;
  working_.store(helpers, std::memory_order_relaxed);
  for (int i = 0; i < helpers; i++) {
    Worker& worker = workers_[static_cast<size_t>(i)];
    worker.posted = true;
    worker.wakeUp();
  }
}

void ThreadPool::join() {
  takeParts(0);
  for (int i = 0; i < sharing_ - 1; i++) {
    if (workers_[static_cast<size_t>(i)].claim()) working_.fetch_sub(1, std::memory_order_relaxed);
  }
  for (int spin = 0; working_.load(std::memory_order_acquire) > 0; spin++) {
    if (spin < kWaitSpins) {
      pauseSpinning();
    } else {
      std::this_thread::yield();
    }
  }
}

void ThreadPool::takeParts(int thread) {
  for (int i = 0; i < sharing_; i++) {
    Share& share = shares_[static_cast<size_t>((thread + i) % sharing_)];
    for (int part; (part = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end;) task_(data_, part, thread);
  }
}

void ThreadPool::work(int thread, Worker& own) {
  while (!stopping_) {
    for (int spin = 0; spin < kIdleSpins && !own.posted.load(std::memory_order_relaxed); spin++) pauseSpinning();
    if (!own.posted && !stopping_) own.sleep(stopping_);
    if (!own.claim()) continue;
    takeParts(thread);
    working_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace md
