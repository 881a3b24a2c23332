// The single decision point of the op: which tokens meet which, in blocks, and who computes them.
#pragma once
#include <vector>

#include "kernels.h"
#include "op.h"

namespace md::masked_attention {

/// Segments in the order of the batch; items that do not differ share their blocks.
struct BlockList {
  std::vector<Block> blocks;
  std::vector<Segment> segments;

  BlockView view() const;
};

struct Plan {
  BlockList queries;  // forward: rows are queries, ranges are keys
  BlockList keys;     // backward: rows are keys, ranges are queries
  Predicate predicate;
};

/// Sizes of one call.
struct Sizes {
  int64_t batch, heads, queries, keys, headDim;
};

/// Checks the mask against the sizes and lists the blocks it leaves. ShapeError or ValueError where they disagree.
Plan plan(const Mask& mask, const Sizes& sizes, const char* op);

/// Cuts the blocks of all units into contiguous parts of about equal work; part p is [cuts[p], cuts[p + 1]). Where units are
/// small beside a thread's share of the work, into parts of whole units for threads to share out; else into one a thread,
/// which may begin within a unit.
std::vector<Cut> partition(const BlockList& list, const Sizes& sizes, int64_t threads);

}  // namespace md::masked_attention
