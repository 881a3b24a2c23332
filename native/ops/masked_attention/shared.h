// What masks decide token by token, the same on every device.
#pragma once
#include <cstdint>

namespace md::masked_attention {

/// The part of a mask that lists of blocks do not express: it lets through all, none or some of a block.
struct Predicate {
  enum class Kind : int32_t { all, causal, dense } kind = Kind::all;
  int64_t offset = 0;  // causal: query i meets keys j <= i + offset
  const uint8_t* dense = nullptr;  // 0 or 1
  int64_t stride[4] = {0, 0, 0, 0};  // of dense, by batch, head, query, key
};

}  // namespace md::masked_attention
