// Where a thread may run. Linux often wakes a thread on the core of the thread that woke it, even when another core
// is idle, and leaves it there for milliseconds: a sleeping worker is therefore kept off its waker's core.
#pragma once
#include <thread>

#ifdef __linux__
#include <pthread.h>
#include <sched.h>
#endif

namespace md {

class CpuMask {
 public:
#ifdef __linux__
  /// Reads the calling thread's own mask; an empty one where there are more cores than the mask has bits.
  void readOwn() {
    if (pthread_getaffinity_np(pthread_self(), sizeof mask_, &mask_) != 0) CPU_ZERO(&mask_);
  }

  /// Bars `thread` from the core that the caller runs on, when that leaves it another one.
  void applyWithoutThisCore(std::thread& thread) const {
    cpu_set_t others = mask_;
    const int core = sched_getcpu();
    if (core >= 0 && core < CPU_SETSIZE) CPU_CLR(static_cast<size_t>(core), &others);
    if (CPU_COUNT(&others) > 0) pthread_setaffinity_np(thread.native_handle(), sizeof others, &others);
  }

  /// Gives the calling thread the mask back.
  void applyToOwn() const {
    if (CPU_COUNT(&mask_) > 0) pthread_setaffinity_np(pthread_self(), sizeof mask_, &mask_);
  }

 private:
  cpu_set_t mask_{};
#else
  void readOwn() {}
  void applyWithoutThisCore(std::thread&) const {}
  void applyToOwn() const {}
#endif
};

}  // namespace md
