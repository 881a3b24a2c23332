// Plain data and entry points of the CPU kernels.
#pragma once
#include "../../core/dtype.h"
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

struct BlockView {
  const Block* blocks;
  const int64_t* first;  // [items + 1]
  int64_t items;         // 1 (shared) or the batch

  int64_t begin(int64_t batch) const { return first[items == 1 ? 0 : batch]; }
  int64_t end(int64_t batch) const { return first[items == 1 ? 1 : batch + 1]; }
};

/// A place in the work of one call: head b · heads + h, and a block of its item's list, counted from 0.
struct Cut {
  int64_t head, block;
};

/// Rows of D elements with unit stride, addressed by batch, head and token.
struct Rows {
  void* data;
  int64_t batch, head, token;  // strides in elements

  template <class T>
  T* at(int64_t b, int64_t h, int64_t t) const {
    return static_cast<T*>(data) + b * batch + h * head + t * token;
  }
};

struct Problem {
  DType dtype;
  int64_t batch, heads, queries, keys, headDim;
  double scale;
  Predicate predicate;
  Rows q, k, v;
};

struct ForwardProblem : Problem {
  BlockView blocks;
  bool packKeys;  // keys and values of a head are copied side by side first
  Rows out;
  void* logSumExp;  // [B, H, Tq]
};

struct BackwardProblem : Problem {
  BlockView blocks;
  Rows out, grad;
  const void* logSumExp;
  Rows dq, dk, dv;
};

MD_KERNEL(int64_t, forwardWorkspace, const ForwardProblem& problem)
/// Computes the blocks from `begin` up to `end`; `workspace` has forwardWorkspace() elements.
MD_KERNEL(void, forwardPart, const ForwardProblem& problem, Cut begin, Cut end, void* workspace)

MD_KERNEL(int64_t, backwardWorkspace, const BackwardProblem& problem)
/// dk and dv of the blocks from `begin` up to `end`, and what they give to dq. Where `begin` is inside a head, dq of that
/// head belongs to an earlier part: it goes to `shared` [Tq, D] instead, to be added by addShared.
MD_KERNEL(void, backwardPart, const BackwardProblem& problem, Cut begin, Cut end, void* workspace, void* shared)
MD_KERNEL(void, addShared, const BackwardProblem& problem, int64_t head, const void* shared)

}  // namespace md::masked_attention
