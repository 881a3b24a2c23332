// What masks decide token by token, the same on every device.
#pragma once
#include <cstdint>

namespace md::masked_attention {

/// The part of a mask that blocks cannot express. A block of tokens may lie inside, outside or across it.
struct Predicate {
  enum class Kind : int32_t { all, causal, dense } kind = Kind::all;
  int64_t offset = 0;  // causal: query i meets keys j <= i + offset
  const uint8_t* dense = nullptr;
  int64_t stride[4] = {0, 0, 0, 0};  // of dense, by batch, head, query, key

  bool allows(const uint8_t* headMask, int64_t query, int64_t key) const {
    return kind == Kind::causal ? key <= query + offset : headMask[query * stride[2] + key * stride[3]] != 0;
  }
};

}  // namespace md::masked_attention
