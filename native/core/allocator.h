// Caching allocator: freed blocks are kept by size class, so that a training loop pays page faults once.
#pragma once
#include <cstddef>
#include <functional>
#include <map>
#include <utility>
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

/// Where an allocator gets its blocks: the system's memory or a device's.
class BlockSource {
 public:
  virtual ~BlockSource() = default;
  /// At least 64-byte aligned; null where there is no more.
  virtual void* allocate(size_t bytes) = 0;
  virtual void release(void* data) = 0;
  /// Bytes that there are altogether.
  virtual size_t capacity() const = 0;
  /// Whether accesses are checked: blocks are then exactly as long as what was asked for, and are not reused.
  virtual bool checked() const = 0;
};

/// The system's memory; guarded where the environment sets MD_GUARD_BANDS.
BlockSource& hostMemory();
/// For tests: ends the process when a block is released beside which something was written.
BlockSource& guardedMemory();

class Allocator {
 public:
  /// Live + requested bytes beyond a limit throw OutOfMemory; it starts at the source's capacity.
  explicit Allocator(BlockSource& source = hostMemory());
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  /// 64-byte aligned, never null. Flushes the cache and retries before it throws OutOfMemory.
  Block allocate(size_t bytes, const char* op);
  void release(Block block, size_t bytes);
  void flush();
  /// `wait` is called before memory goes back to the source: it returns when queued kernels do not use it any more. A block
  /// that is given out again needs none: its next kernel queues up behind them.
  void waitWith(std::function<void()> wait) { wait_ = std::move(wait); }
  /// Flushes, and from here on gives released blocks back to the source at once.
  void stopCaching();
  void setLimit(size_t bytes) { limitBytes_ = bytes; }
  size_t limit() const { return limitBytes_; }
  void resetPeak() { stats_.peakBytes = stats_.liveBytes; }
  const MemoryStats& stats() const { return stats_; }

 private:
  size_t sizeClass(size_t bytes) const;
  void giveBack(void* data);
  BlockSource& source_;
  bool checked_, caching_;
  std::map<size_t, std::vector<void*>> free_;
  std::function<void()> wait_;
  MemoryStats stats_;
  size_t limitBytes_;
};

}  // namespace md
