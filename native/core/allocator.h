// Caching allocator: freed blocks are kept by size class, so that a training loop pays page faults once.
#pragma once
#include <cstddef>
#include <map>
#include <vector>

namespace md {

struct MemoryStats {
  size_t liveBytes = 0;    // of tensors, in size classes
  size_t peakBytes = 0;    // highest liveBytes since the last resetPeak()
  size_t cachedBytes = 0;  // in blocks kept for reuse
};

struct Block {
  void* data;
  size_t size;
};

class Allocator {
 public:
  /// `limitBytes`: live + requested bytes beyond it throw OutOfMemory; default: physical memory.
  Allocator();
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  /// 64-byte aligned, never null. Flushes the cache and retries before it throws OutOfMemory.
  Block allocate(size_t bytes, const char* op);
  void release(Block block, size_t bytes);
  void flush();
  void setLimit(size_t bytes) { limitBytes_ = bytes; }
  size_t limit() const { return limitBytes_; }
  void resetPeak() { stats_.peakBytes = stats_.liveBytes; }
  const MemoryStats& stats() const { return stats_; }

 private:
  static size_t sizeClass(size_t bytes);
  std::map<size_t, std::vector<void*>> free_;
  MemoryStats stats_;
  size_t limitBytes_;
};

}  // namespace md
