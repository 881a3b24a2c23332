#include "allocator.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "error.h"

namespace md {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;  // of x86-64, and of arm64 with pages of 4 KiB

class HostMemory : public BlockSource {
 public:
  void* allocate(size_t bytes) override {
    void* block = nullptr;
    const bool large = bytes >= 2 * kHugePage;
    if (posix_memalign(&block, large ? kHugePage : kAlignment, bytes) != 0) return nullptr;
#if defined(MADV_HUGEPAGE)
    // Streams stop at the end of every small page. Where the system declines, nothing is lost.
    if (large) madvise(block, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
    return block;
  }
  void release(void* data) override { std::free(data); }
  size_t capacity() const override {
    return static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGE_SIZE));
  }
  // The address sanitizer sees a write past a block's end only if the block is exactly as long as what was asked for,
  // and a use after release only if the block is not reused.
#if defined(__SANITIZE_ADDRESS__)
  bool checked() const override { return true; }
#else
  bool checked() const override { return false; }
#endif
};

// A block is as long as what was asked for and lies between two bands. All three begin as NaN, so that what is read before
// it is written shows.
class GuardedMemory final : public HostMemory {
 public:
  void* allocate(size_t bytes) override {
    void* start = nullptr;
    if (posix_memalign(&start, kAlignment, kBand + bytes + kBand) != 0) return nullptr;
    std::memset(start, kUnwritten, kBand + bytes + kBand);
    std::memcpy(start, &bytes, sizeof bytes);
    return static_cast<char*>(start) + kBand;
  }
  void release(void* data) override {
    unsigned char* const start = static_cast<unsigned char*>(data) - kBand;
    size_t bytes;
    std::memcpy(&bytes, start, sizeof bytes);
    const auto written = [](unsigned char byte) { return byte != kUnwritten; };
    if (std::any_of(start + sizeof bytes, start + kBand, written)) end("before");
    if (std::any_of(start + kBand + bytes, start + kBand + bytes + kBand, written)) end("behind");
    std::free(start);
  }
  bool checked() const override { return true; }

 private:
  static constexpr size_t kBand = 4 * kAlignment;
  static constexpr unsigned char kUnwritten = 0xFF;

  [[noreturn]] static void end(const char* where) {
    std::fprintf(stderr, "guard bands: a kernel wrote %s a tensor\n", where);
    std::abort();
  }
};

}  // namespace

BlockSource& hostMemory() {
  static HostMemory memory;
  const char* guarded = std::getenv("MD_GUARD_BANDS");
  return guarded && *guarded ? guardedMemory() : memory;
}

BlockSource& guardedMemory() {
  static GuardedMemory memory;
  return memory;
}

Allocator::Allocator(BlockSource& source) : source_(source), checked_(source.checked()), caching_(!checked_), limitBytes_(source.capacity()) {}

Allocator::~Allocator() {
  wait_ = {};  // who used its blocks may be gone before it
  flush();
}

// Four classes per power of two: at most a quarter is wasted, and a loop of similar shapes reuses its blocks.
size_t Allocator::sizeClass(size_t bytes) const {
  if (checked_) return std::max<size_t>(bytes, 1);
  bytes = std::max(bytes, kAlignment);
  const size_t step = std::max(std::bit_floor(bytes) / 4, kAlignment);
  return (bytes + step - 1) / step * step;
}

Block Allocator::allocate(size_t bytes, const char* op) {
  if (bytes > limitBytes_ || stats_.liveBytes + sizeClass(bytes) > limitBytes_) {
    fail(ErrorKind::outOfMemory, op, "needs ", bytes, " bytes with ", stats_.liveBytes, " live, limit is ", limitBytes_);
  }
  const size_t size = sizeClass(bytes);
  Block block{nullptr, size};
  // A somewhat larger block rather than a new one: sizes that change from step to step would fill the memory.
  for (auto found = free_.lower_bound(size); found != free_.end() && found->first <= size + size / 2; ++found) {
    if (found->second.empty()) continue;
    block = {found->second.back(), found->first};
    found->second.pop_back();
    stats_.cachedBytes -= block.size;
    break;
  }
  if (!block.data) {
    if (stats_.liveBytes + stats_.cachedBytes + size > limitBytes_) flush();
    block.data = source_.allocate(size);
    if (!block.data) {
      flush();
      block.data = source_.allocate(size);
    }
    if (!block.data) fail(ErrorKind::outOfMemory, op, "the system refused ", bytes, " bytes with ", stats_.liveBytes, " live");
  }
  stats_.liveBytes += size;
  stats_.peakBytes = std::max(stats_.peakBytes, stats_.liveBytes);
  return block;
}

void Allocator::release(Block block, size_t bytes) {
  stats_.liveBytes -= sizeClass(bytes);
  if (!caching_) return giveBack(block.data);
  stats_.cachedBytes += block.size;
  free_[block.size].push_back(block.data);
}

void Allocator::giveBack(void* data) {
  if (wait_) wait_();
  source_.release(data);
}

void Allocator::stopCaching() {
  flush();
  caching_ = false;
}

void Allocator::flush() {
  for (auto& [size, blocks] : free_) {
    for (void* block : blocks) giveBack(block);
    blocks.clear();
  }
  stats_.cachedBytes = 0;
}

}  // namespace md
