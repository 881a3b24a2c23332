#include "thread_pool.h"

#include <algorithm>

#include "../isa/pause.h"

namespace md {
namespace {

constexpr int kIdleSpins = 40000;  // 0.5 to 2 ms: waking costs more than the gap between two kernels of a training step
constexpr int kWaitSpins = 4000;

/// One more turn of waiting for another thread.
void wait(int& spins) {
  if (spins < kWaitSpins) {
    spins++;
    pauseSpinning();
  } else {
    std::this_thread::yield();
  }
}

}  // namespace

ThreadPool::ThreadPool(int threads) { start(threads); }
ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::start(int threads) {
  threads_ = threads;
  stopping_ = false;
  regions_ = std::make_unique<Region[]>(kRegions);
  for (size_t i = 0; i < kRegions; i++) regions_[i].shares = std::vector<Share>(static_cast<size_t>(threads));
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
  finish();
  if (threads <= static_cast<int>(workers_.size()) + 1) {
    threads_ = threads;
  } else {
    stop();
    start(threads);
  }
}

void ThreadPool::Worker::wakeUp() {
  if (!sleeping) return;
  std::lock_guard lock(mutex);
  if (sleeping) allowed.applyWithoutThisCore(thread);
  wake.notify_one();
}

void ThreadPool::sleep(int thread, Worker& own) {
  std::unique_lock lock(own.mutex);
  own.allowed.readOwn();
  own.sleeping = true;
  own.wake.wait(lock, [&] { return (thread < threads_ && done_ != queued_) || stopping_; });
  own.sleeping = false;
  own.allowed.applyToOwn();
}

void ThreadPool::queue(int parts, std::function<void(int, int)> task) {
  if (threads() == 1) {
    for (int part = 0; part < parts; part++) task(part, 0);
    return;
  }
  if (parts <= 0) return;
  const int64_t index = queued_.load(std::memory_order_relaxed);
  workUntil(index + 1 - static_cast<int64_t>(kRegions));
  Region& region = at(index);
  // A worker may still be on its way out, or come late and find the region that was here done.
  for (int spins = 0; region.inside.load() > 0;) wait(spins);
  region.task = std::move(task);
  region.sharing = std::min(parts, threads());
  for (int64_t thread = 0; thread < region.sharing; thread++) {
    Share& share = region.shares[static_cast<size_t>(thread)];
    share.next.store(static_cast<int>(parts * thread / region.sharing), std::memory_order_relaxed);
    share.end = static_cast<int>(parts * (thread + 1) / region.sharing);
  }
  region.left.store(parts, std::memory_order_relaxed);
  queued_.fetch_add(1);
  // Of a single part whoever is awake takes care; one that sleeps is woken in case all do.
  for (int i = 0; i < std::max(region.sharing - 1, 1); i++) workers_[static_cast<size_t>(i)].wakeUp();
}

int64_t ThreadPool::queued() const { return queued_.load(std::memory_order_relaxed); }
void ThreadPool::finish() { workUntil(queued()); }
void ThreadPool::finish(int64_t regions) { workUntil(std::min(regions, queued())); }

void ThreadPool::run(int parts, void (*task)(void*, int, int), void* data) {
  queue(parts, [=](int part, int thread) { task(data, part, thread); });
  finish();
}

/// Takes parts of region `index` until none is left, unless it is done already.
void ThreadPool::takeParts(int64_t index, int thread) {
  Region& region = at(index);
  region.inside.fetch_add(1);
  int taken = 0;
  if (done_.load() == index) {
    // A single part needs no scratch but the first.
    const int own = region.sharing == 1 ? 0 : thread;
    for (int i = 0; i < region.sharing && own < region.sharing; i++) {
      Share& share = region.shares[static_cast<size_t>((own + i) % region.sharing)];
      for (int part; (part = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end; taken++) region.task(part, own);
    }
    if (taken > 0 && region.left.fetch_sub(taken, std::memory_order_acq_rel) == taken) done_.store(index + 1);
  }
  region.inside.fetch_sub(1, std::memory_order_release);
}

/// Takes parts of region `next` if that is another one than last time, else waits for those who still work on it.
void ThreadPool::takeOrWait(int64_t next, int thread, Turn& turn) {
  if (next == turn.region) return wait(turn.spins);
  takeParts(next, thread);
  turn = {next, 0};
}

void ThreadPool::workUntil(int64_t index) {
  Turn turn;
  for (int64_t next; (next = done_.load(std::memory_order_acquire)) < index;) takeOrWait(next, 0, turn);
}

void ThreadPool::work(int thread, Worker& own) {
  Turn turn;
  while (!stopping_) {
    const int64_t next = done_.load(std::memory_order_acquire);
    const bool wanted = thread < threads();
    if (wanted && next != queued_.load(std::memory_order_acquire)) {
      takeOrWait(next, thread, turn);
    } else if (wanted && turn.spins++ < kIdleSpins) {
      pauseSpinning();
    } else {
      sleep(thread, own);
      turn.spins = 0;
    }
  }
}

}  // namespace md
