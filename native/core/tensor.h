// A tensor: a view (shape, strides, offset) of reference-counted storage.
#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>

#include "allocator.h"
#include "device.h"
#include "dtype.h"

namespace md {

constexpr int kMaxRank = 8;

/// At most kMaxRank extents or strides, by value.
struct Dims {
  int rank = 0;
  std::array<int64_t, kMaxRank> d{};

  Dims() = default;
  Dims(std::initializer_list<int64_t> values) {
    for (int64_t value : values) d[rank++] = value;
  }
  int64_t operator[](int i) const { return d[i]; }
  int64_t& operator[](int i) { return d[i]; }
  void push(int64_t value) { d[rank++] = value; }
  int64_t numel() const {
    int64_t n = 1;
    for (int i = 0; i < rank; i++) n *= d[i];
    return n;
  }
  bool operator==(const Dims& other) const {
    if (rank != other.rank) return false;
    for (int i = 0; i < rank; i++)
      if (d[i] != other.d[i]) return false;
    return true;
  }
  /// "[2,4,16]"
  std::string str() const;
};

/// Row-major strides of `shape`.
Dims contiguousStrides(const Dims& shape);

class Storage {
 public:
  Storage(Allocator& allocator, size_t bytes, const char* op)
      : allocator_(allocator), bytes_(bytes), block_(allocator.allocate(bytes, op)) {}
  ~Storage() { allocator_.release(block_, bytes_); }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  void* data() const { return block_.data; }
  size_t bytes() const { return bytes_; }
  const Allocator& allocator() const { return allocator_; }

  /// Regions of the thread pool after which the elements are what they shall be: all that are queued, where nobody says fewer.
  static constexpr int64_t kAllQueued = INT64_MAX;
  int64_t readyAfter = kAllQueued;

 private:
  Allocator& allocator_;
  size_t bytes_;
  Block block_;
};

struct Tensor {
  std::shared_ptr<Storage> storage;
  DType dtype = DType::f32;
  Device device;
  Dims shape;
  Dims stride;
  int64_t offset = 0;  // in elements

  int rank() const { return shape.rank; }
  int64_t dim(int i) const { return shape[i < 0 ? shape.rank + i : i]; }
  int64_t numel() const { return shape.numel(); }
  bool contiguous() const;
  void* raw() const { return static_cast<char*>(storage->data()) + offset * static_cast<int64_t>(itemSize(dtype)); }
  /// Address of the first element; the caller has checked the dtype.
  template <class T>
  T* data() const {
    return static_cast<T*>(raw());
  }
};

}  // namespace md
