// The single decision point of the op: which tokens meet which, in blocks, and who computes them.
#pragma once
#include <vector>

#include "kernels.h"
#include "op.h"

namespace md::masked_attention {

/// Blocks of every batch item; one list serves all items where they do not differ.
struct BlockList {
  std::vector<Block> blocks;
  std::vector<int64_t> first{0};  // blocks of item i: [first[i], first[i + 1])

  BlockView view() const { return {blocks.data(), first.data(), static_cast<int64_t>(first.size()) - 1}; }
};

struct Plan {
  BlockList queries;  // forward: rows are queries, ranges are keys
  BlockList keys;     // backward: rows are keys, ranges are queries
  bool packKeys;      // forward: copy the keys and values of a head side by side, where enough blocks read them
  Predicate predicate;
};

/// Sizes of one call.
struct Sizes {
  int64_t batch, heads, queries, keys, headDim;
};

/// Checks the mask against the sizes and lists the blocks it leaves. ShapeError or ValueError where they disagree.
Plan plan(const Mask& mask, const Sizes& sizes, const char* op);

/// Cuts the blocks of all heads into at most `threads` contiguous parts of equal work; part p is [cuts[p], cuts[p + 1]).
std::vector<Cut> partition(const BlockList& list, const Sizes& sizes, int threads);

}  // namespace md::masked_attention
