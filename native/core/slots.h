// Tensors by integer: what crosses the JavaScript border instead of objects.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "error.h"
#include "tensor.h"

namespace md {

class SlotTable {
 public:
  int32_t add(Tensor tensor) {
    live_++;
    if (free_.empty()) {
      slots_.push_back(std::move(tensor));
      return static_cast<int32_t>(slots_.size()) - 1;
    }
    const int32_t slot = free_.back();
    free_.pop_back();
    slots_[static_cast<size_t>(slot)] = std::move(tensor);
    return slot;
  }

  const Tensor& at(int32_t slot, const char* op) const {
    if (slot < 0 || static_cast<size_t>(slot) >= slots_.size() || !slots_[static_cast<size_t>(slot)].storage) {
      fail(ErrorKind::disposed, op, "slot ", slot, " holds no tensor: it was disposed, expected a live one");
    }
    return slots_[static_cast<size_t>(slot)];
  }

  void free(int32_t slot) {
    at(slot, "dispose");
    slots_[static_cast<size_t>(slot)] = Tensor{};
    free_.push_back(slot);
    live_--;
  }

  int64_t live() const { return live_; }

 private:
  std::vector<Tensor> slots_;
  std::vector<int32_t> free_;
  int64_t live_ = 0;
};

}  // namespace md
