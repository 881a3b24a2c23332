// What a captured graph keeps for its replays: device memory and copies of host memory.
#pragma once
#include <map>
#include <span>
#include <vector>

#include "launch.h"

namespace md::cuda {

/// Memory of one graph, in blocks of the device's allocator. A tensor that is freed gives its block to others of the same
/// capture; to the device's allocator all goes back only after close(), since a replay writes to all of it.
class GraphMemory final : public BlockSource {
 public:
  /// @param keys of the random streams that the graph draws from
  GraphMemory(Allocator& device, bool checked, std::span<const uint64_t> keys = {});
  ~GraphMemory() override;
  GraphMemory(const GraphMemory&) = delete;
  GraphMemory& operator=(const GraphMemory&) = delete;

  Allocator& allocator() { return blocks_; }
  /// A copy of host memory, pinned, that lives as long as the graph. Null where there is no more.
  const void* keep(const void* host, size_t bytes);
  const std::vector<uint64_t>& keys() const { return keys_; }
  /// On the device, a number a key: how far its stream has moved on since the capture.
  uint64_t* moved() const { return static_cast<uint64_t*>(moved_.data); }
  /// No replay comes any more, and all are done: gives back what no tensor holds, and from then on what one lets go.
  void close();
  /// Closed, and no tensor holds anything.
  bool spent() const { return closed_ && blocks_.stats().liveBytes == 0; }

  void* allocate(size_t bytes) override;
  void release(void* data) override;
  size_t capacity() const override { return device_.limit(); }
  bool checked() const override { return checked_; }

 private:
  void giveBack(void* data);

  struct Taken {
    Block block;
    size_t bytes;
  };
  Allocator& device_;
  const bool checked_;
  bool closed_ = false;
  const std::vector<uint64_t> keys_;
  std::map<void*, Taken> taken_;
  std::vector<void*> freed_;  // before close(): no tensor's, but replays write there
  std::vector<void*> host_;   // pinned buffers
  size_t hostUsed_ = 0;       // of the last one
  Allocator blocks_;          // after what it uses to give back its blocks as it ends
  Block moved_{};
};

}  // namespace md::cuda
