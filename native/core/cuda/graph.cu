#include "graph.h"

#include <cstring>

namespace md::cuda {
namespace {

constexpr size_t kHostBytes = size_t{64} << 10;  // of a pinned buffer, unless one copy needs more
constexpr size_t kHostAlignment = 64;

}  // namespace

GraphMemory::GraphMemory(Allocator& device, bool checked, std::span<const uint64_t> keys)
    : device_(device), checked_(checked), keys_(keys.begin(), keys.end()), blocks_(*this) {
  if (!keys_.empty()) moved_ = blocks_.allocate(keys_.size() * sizeof(uint64_t), "graph");
}

GraphMemory::~GraphMemory() { close(); }

const void* GraphMemory::keep(const void* host, size_t bytes) {
  if (host_.empty() || hostUsed_ + bytes > kHostBytes) {
    void* buffer = nullptr;
    if (cudaHostAlloc(&buffer, bytes > kHostBytes ? bytes : kHostBytes, cudaHostAllocDefault) != cudaSuccess) return nullptr;
    host_.push_back(buffer);
    hostUsed_ = 0;
  }
  char* const place = static_cast<char*>(host_.back()) + hostUsed_;
  std::memcpy(place, host, bytes);
  hostUsed_ += (bytes + kHostAlignment - 1) / kHostAlignment * kHostAlignment;
  return place;
}

void GraphMemory::close() {
  if (closed_) return;
  closed_ = true;
  if (moved_.data) blocks_.release(moved_, keys_.size() * sizeof(uint64_t));
  blocks_.stopCaching();
  for (void* data : freed_) giveBack(data);
  for (void* buffer : host_) cudaFreeHost(buffer);
}

void* GraphMemory::allocate(size_t bytes) {
  try {
    const Block block = device_.allocate(bytes, "graph");
    taken_[block.data] = {block, bytes};
    return block.data;
  } catch (const Error&) {
    return nullptr;  // the caller's error names the op
  }
}

void GraphMemory::release(void* data) {
  if (closed_) return giveBack(data);
  freed_.push_back(data);
}

void GraphMemory::giveBack(void* data) {
  const auto found = taken_.find(data);
  device_.release(found->second.block, found->second.bytes);
  taken_.erase(found);
}

}  // namespace md::cuda
