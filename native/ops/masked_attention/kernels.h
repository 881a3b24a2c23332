// Plain data of the kernels, and entry points of the CPU's.
#pragma once
#include "../../core/dtype.h"
#include "../../core/host_device.h"
#include "../../core/tensor.h"
#include "../../isa/isa.h"
#include "shared.h"

namespace md::masked_attention {

constexpr int64_t kQueryBlock = 64;  // most queries of a forward block
constexpr int64_t kKeyBlock = 64;    // most keys of a backward block

/// Rows [begin, end) of one side that meet the same tokens of the other side: those of both ranges, and, where
/// `ownTokens` is not 0, the tokens of the row's own sample of that length.
struct Block {
  int64_t begin = 0, end = 0;
  int64_t rangeBegin[2] = {0, 0}, rangeEnd[2] = {0, 0};
  int64_t ownTokens = 0;
};

/// Blocks [firstBlock, lastBlock) of one batch item, and the tokens [begin, end) of the other side that these blocks alone
/// meet: what they need of these is brought together once a head.
struct Segment {
  int64_t batch = 0, firstBlock = 0, lastBlock = 0, begin = 0, end = 0;

  int64_t blocks() const { return lastBlock - firstBlock; }
  int64_t tokens() const { return end - begin; }
};

struct BlockView {
  const Block* blocks;
  const Segment* segments;
  int64_t count;  // of segments
  int64_t mostTokens;  // of a segment
};

/// A place in the work of one call: unit s · heads + h is head h of segment s; `block` counts from its first.
struct Cut {
  int64_t unit, block;
};

/// Rows of D elements with unit stride, addressed by batch, head and token.
struct Rows {
  void* data;
  int64_t batch, head, token;  // strides in elements

  template <class T>
  MD_HOST_DEVICE T* at(int64_t b, int64_t h, int64_t t) const {
    return static_cast<T*>(data) + b * batch + h * head + t * token;
  }
  /// Asks for the same token's row of the next head, whose turn comes next: rows lie too far apart for the processor to
  /// foresee them.
  template <class T>
  void expectNext(const T* row, int64_t depth) const {
    for (int64_t d = depth - 1; d >= 0; d -= 64 / static_cast<int64_t>(sizeof(T))) __builtin_prefetch(row + head + d);
  }
};

/// Of a tensor [B, H, T, D], whose first token has the given place among all.
inline Rows rowsOf(const Tensor& x, int64_t first = 0) {
  const int64_t before = x.numel() > 0 ? first * x.stride[2] * static_cast<int64_t>(itemSize(x.dtype)) : 0;
  return {static_cast<char*>(x.raw()) - before, x.stride[0], x.stride[1], x.stride[2]};
}

/// Rows of keys or values by their place among all tokens, of which the first `apart` lie in a tensor of their own.
struct KeyRows {
  Rows own, others;
  int64_t apart = 0;

  const Rows& of(int64_t token) const { return token < apart ? own : others; }
};

/// LayerNorm over D where there is a weight, rotation of `pairs` pairs where there is a table [batch, tokens, pairs, 2].
struct Preparation {
  const void* weight = nullptr;  // [D]
  const void* bias = nullptr;    // [D] or null
  double eps = 0;
  const void* rotary = nullptr;
  int64_t rotaryBatch = 0, rotaryToken = 0, pairs = 0;  // strides in elements
  bool rotateFirst = false;

  bool any() const { return weight || rotary; }
};

/// Weights whose 16 random bits are below `threshold` become 0, others are multiplied by `factor`; off where that is 0.
struct Dropout {
  uint32_t threshold = 0;
  double factor = 0;
  uint64_t seed = 0, offset = 0;

  MD_HOST_DEVICE bool on() const { return factor > 0; }
};

struct Problem {
  DType dtype;
  int64_t batch, heads, queries, keys, headDim;
  double scale;
  Predicate predicate;
  Rows q;
  KeyRows k, v;
  Preparation prepareQ, prepareK;
  Dropout dropout;
};

struct ForwardProblem : Problem {
  BlockView blocks;
  int64_t blocksToPack;  // keys and values of a unit of so many blocks are copied side by side first
  int64_t mostPacked;    // tokens so copied at a time
  Rows out;
  void* logSumExp;  // [B, H, Tq]
};

/// What the backward pass reads besides the operands, and what it fills.
struct BackwardRows {
  Rows out, grad;
  const void* logSumExp;
  Rows dq;
  KeyRows dk, dv;
};
struct BackwardProblem : Problem, BackwardRows {
  BlockView blocks;
};

MD_KERNEL(int64_t, forwardWorkspace, const ForwardProblem& problem)
/// Computes the blocks from `begin` up to `end`; `workspace` has forwardWorkspace() elements.
MD_KERNEL(void, forwardPart, const ForwardProblem& problem, Cut begin, Cut end, void* workspace)

MD_KERNEL(int64_t, backwardWorkspace, const BackwardProblem& problem)
/// dk and dv of the blocks from `begin` up to `end`, and what they give to dq. Where `begin` is inside a unit, dq of that
/// unit belongs to an earlier part: it goes to `shared` [tokens of the segment, D] instead, to be added by addShared.
MD_KERNEL(void, backwardPart, const BackwardProblem& problem, Cut begin, Cut end, void* workspace, void* shared)
/// Elements of scratch that prepareGradRows needs.
MD_KERNEL(int64_t, prepareGradScratch, DType dtype, int64_t headDim)
/// Rows [begin, end) of [B, tokens, H]: turns the gradient `grad` of prepared rows of x into that of x, in place; `affine` [2, D]
/// becomes what these rows add to those of weight and bias.
MD_KERNEL(void, prepareGradRows, DType dtype, int64_t headDim, int64_t heads, int64_t tokens, const Preparation& preparation, const Rows& x,
          const Rows& grad, int64_t begin, int64_t end, void* affine, void* scratch)
MD_KERNEL(void, addShared, const BackwardProblem& problem, int64_t unit, const void* shared)

}  // namespace md::masked_attention
