#include "plan.h"

#include <algorithm>

namespace md::masked_attention {
namespace {

constexpr int64_t kLongSample = 16;      // samples from this length on have blocks of their own
constexpr int64_t kPairsPerThread = 1 << 14;  // scores below which a second thread costs more than it brings

struct Range {
  int64_t begin = 0, end = 0;
};

void addRows(BlockList& list, Range rows, int64_t most, Range first, Range second = {}, int64_t ownTokens = 0) {
  for (int64_t begin = rows.begin; begin < rows.end; begin += most) {
    list.blocks.push_back({begin, std::min(rows.end, begin + most), {first.begin, second.begin}, {first.end, second.end}, ownTokens});
  }
}

// Blocks from `firstBlock` on become a segment that meets tokens `others` of the other side.
void endSegment(BlockList& list, int64_t batch, int64_t firstBlock, Range others) {
  list.segments.push_back({batch, firstBlock, static_cast<int64_t>(list.blocks.size()), others.begin, others.end});
}

// All blocks so far that are in no segment yet become those of item `batch`.
void endItem(Plan& plan, int64_t batch, const Sizes& sizes) {
  const auto next = [](const BlockList& list) { return list.segments.empty() ? 0 : list.segments.back().lastBlock; };
  endSegment(plan.queries, batch, next(plan.queries), {0, sizes.keys});
  endSegment(plan.keys, batch, next(plan.keys), {0, sizes.queries});
}

// The same blocks for every item of the batch.
void endBatch(Plan& plan, const Sizes& sizes) {
  for (int64_t batch = 0; batch < sizes.batch; batch++) {
    endSegment(plan.queries, batch, 0, {0, sizes.keys});
    endSegment(plan.keys, batch, 0, {0, sizes.queries});
  }
}

void planLevel2Item(Plan& plan, const Mask& mask, const Sizes& sizes, int64_t conditionLength) {
  const int64_t length = mask.tokensPerSample, actions = mask.samples * length, valid = actions + conditionLength;
  const bool conditionAsks = sizes.queries > actions;
  const Range condition{actions, valid}, padding{valid, sizes.keys}, askers{0, conditionAsks ? valid : actions};
  if (length < kLongSample) {
    addRows(plan.queries, {0, actions}, kQueryBlock, condition, {}, length);
    addRows(plan.keys, {0, actions}, kKeyBlock, {}, {}, length);
  } else {
    for (int64_t begin = 0; begin < actions; begin += length) {
      const Range own{begin, begin + length};
      addRows(plan.queries, own, kQueryBlock, own, condition);
      addRows(plan.keys, own, kKeyBlock, own);
    }
  }
  if (conditionAsks) {
    addRows(plan.queries, condition, kQueryBlock, condition);
    addRows(plan.queries, padding, kQueryBlock, {});
  }
  addRows(plan.keys, condition, kKeyBlock, askers);
  addRows(plan.keys, padding, kKeyBlock, {});
}

void planLevel2(Plan& plan, const Mask& mask, const Sizes& sizes, const char* op) {
  if (mask.samples < 0 || mask.tokensPerSample < 1 || mask.conditionTokens < 0) {
    fail(ErrorKind::value, op, "level2 mask has samples ", mask.samples, ", tokensPerSample ", mask.tokensPerSample,
         ", conditionTokens ", mask.conditionTokens, ", expected samples >= 0, tokensPerSample >= 1, conditionTokens >= 0");
  }
  const int64_t actions = mask.samples * mask.tokensPerSample, all = actions + mask.conditionTokens;
  if (sizes.keys != all || (sizes.queries != all && sizes.queries != actions)) {
    fail(ErrorKind::shape, op, "q and k have ", sizes.queries, " and ", sizes.keys, " tokens, expected ", all, " or ", actions,
         " queries and ", all, " keys for ", mask.samples, " samples of ", mask.tokensPerSample, " and ", mask.conditionTokens,
         " condition tokens");
  }
  if (mask.conditionLengths.empty()) {
    planLevel2Item(plan, mask, sizes, mask.conditionTokens);
    return endBatch(plan, sizes);
  }
  if (static_cast<int64_t>(mask.conditionLengths.size()) != sizes.batch) {
    fail(ErrorKind::shape, op, "found ", mask.conditionLengths.size(), " condition lengths, expected one for each of ", sizes.batch, " items");
  }
  for (int64_t batch = 0; batch < sizes.batch; batch++) {
    const int32_t length = mask.conditionLengths[static_cast<size_t>(batch)];
    if (length < 0 || length > mask.conditionTokens) {
      fail(ErrorKind::value, op, "found the condition length ", length, ", expected 0 to ", mask.conditionTokens);
    }
    planLevel2Item(plan, mask, sizes, length);
    endItem(plan, batch, sizes);
  }
}

void checkCuSeqlens(std::span<const int32_t> cuSeqlens, int64_t tokens, const char* name, const char* op) {
  if (cuSeqlens.empty() || cuSeqlens.front() != 0 || cuSeqlens.back() != tokens ||
      !std::is_sorted(cuSeqlens.begin(), cuSeqlens.end())) {
    fail(ErrorKind::value, op, name, " does not rise from 0 to the ", tokens, " tokens of its operand");
  }
}

void planVarlen(Plan& plan, const Mask& mask, const Sizes& sizes, const char* op) {
  const auto q = mask.cuSeqlensQ, k = mask.cuSeqlensK;
  if (sizes.batch != 1) fail(ErrorKind::shape, op, "q has a batch of ", sizes.batch, ", expected 1 with a varlen mask");
  checkCuSeqlens(q, sizes.queries, "cuSeqlensQ", op);
  checkCuSeqlens(k, sizes.keys, "cuSeqlensK", op);
  if (q.size() != k.size()) {
    fail(ErrorKind::value, op, "cuSeqlensQ has ", q.size(), " entries and cuSeqlensK ", k.size(), ", expected the same number");
  }
  for (size_t i = 0; i + 1 < q.size(); i++) {
    const Range queries{q[i], q[i + 1]}, keys{k[i], k[i + 1]};
    const auto firstQueries = static_cast<int64_t>(plan.queries.blocks.size()), firstKeys = static_cast<int64_t>(plan.keys.blocks.size());
    addRows(plan.queries, queries, kQueryBlock, keys);
    addRows(plan.keys, keys, kKeyBlock, queries);
    endSegment(plan.queries, 0, firstQueries, keys);
    endSegment(plan.keys, 0, firstKeys, queries);
  }
}

void planCausal(Plan& plan, const Sizes& sizes) {
  const int64_t offset = sizes.keys - sizes.queries;
  plan.predicate.kind = Predicate::Kind::causal;
  plan.predicate.offset = offset;
  for (int64_t begin = 0; begin < sizes.queries; begin += kQueryBlock) {
    const int64_t end = std::min(begin + kQueryBlock, sizes.queries);
    addRows(plan.queries, {begin, end}, kQueryBlock, {0, std::max<int64_t>(0, end + offset)});
  }
  for (int64_t begin = 0; begin < sizes.keys; begin += kKeyBlock) {
    const int64_t end = std::min(begin + kKeyBlock, sizes.keys);
    addRows(plan.keys, {begin, end}, kKeyBlock, {std::max<int64_t>(0, begin - offset), sizes.queries});
  }
  endBatch(plan, sizes);
}

void planAll(Plan& plan, const Sizes& sizes) {
  addRows(plan.queries, {0, sizes.queries}, kQueryBlock, {0, sizes.keys});
  addRows(plan.keys, {0, sizes.keys}, kKeyBlock, {0, sizes.queries});
  endBatch(plan, sizes);
}

void planDense(Plan& plan, const Mask& mask, const Sizes& sizes, const char* op) {
  requireDType(*mask.dense, DType::boolean, op, "mask");
  const Dims full{sizes.batch, sizes.heads, sizes.queries, sizes.keys};
  const Dims& shape = mask.dense->shape;
  bool fits = shape.rank <= 4;
  for (int i = 1; i <= shape.rank && fits; i++) fits = shape[shape.rank - i] == 1 || shape[shape.rank - i] == full[4 - i];
  if (!fits) fail(ErrorKind::shape, op, "mask has shape ", shape.str(), ", expected one that broadcasts to ", full.str());
  plan.predicate.kind = Predicate::Kind::dense;
  plan.predicate.dense = mask.dense->data<uint8_t>();
  for (int i = 1; i <= shape.rank; i++) {
    const int axis = shape.rank - i;
    plan.predicate.stride[4 - i] = shape[axis] == 1 ? 0 : mask.dense->stride[axis];
  }
  planAll(plan, sizes);
}

/// In pairs of a full block: few rows leave lanes of a vector empty, and one alone mostly waits for memory.
int64_t work(const Block& block) {
  constexpr int64_t kAlone = 3, kLeast = 8;
  const int64_t met = block.rangeEnd[0] - block.rangeBegin[0] + block.rangeEnd[1] - block.rangeBegin[1] + block.ownTokens;
  const int64_t rows = block.end - block.begin;
  return (rows == 1 ? kAlone : std::max(rows, kLeast)) * (met + 1);
}

}  // namespace

Plan plan(const Mask& mask, const Sizes& sizes, const char* op) {
  Plan plan;
  switch (mask.kind) {
    case MaskKind::level2: planLevel2(plan, mask, sizes, op); break;
    case MaskKind::varlen: planVarlen(plan, mask, sizes, op); break;
    case MaskKind::causal: planCausal(plan, sizes); break;
    case MaskKind::dense: planDense(plan, mask, sizes, op); break;
    default: planAll(plan, sizes);
  }
  return plan;
}

BlockView BlockList::view() const {
  int64_t most = 0;
  for (const Segment& segment : segments) most = std::max(most, segment.tokens());
  return {blocks.data(), segments.data(), static_cast<int64_t>(segments.size()), most};
}

std::vector<Cut> partition(const BlockList& list, const Sizes& sizes, int64_t threads) {
  int64_t total = 0, largest = 0;
  const auto workOf = [&](const Segment& segment, int64_t i) { return work(list.blocks[static_cast<size_t>(segment.firstBlock + i)]); };
  for (const Segment& segment : list.segments) {
    int64_t unit = 0;
    for (int64_t i = 0; i < segment.blocks(); i++) unit += workOf(segment, i);
    total += sizes.heads * unit;
    largest = std::max(largest, unit);
  }
  const bool whole = 2 * threads * largest <= total;
  const int64_t parts = std::clamp<int64_t>(total / kPairsPerThread, 1, whole ? threads * kPartsPerThread : threads);
  std::vector<Cut> cuts{{0, 0}};
  int64_t done = 0, unit = 0;
  for (const Segment& segment : list.segments) {
    for (int64_t head = 0; head < sizes.heads; head++, unit++) {
      for (int64_t i = 0; i < segment.blocks(); i++) {
        const auto part = static_cast<int64_t>(cuts.size());
        if (part < parts && (i == 0 || !whole) && done >= cutAt(total, part, parts, threads)) cuts.push_back({unit, i});
        done += workOf(segment, i);
      }
    }
  }
  cuts.push_back({unit, 0});
  return cuts;
}

}  // namespace md::masked_attention
