// Attention under a mask that is described, not materialised (Mini-Diffuser, Eqs. 12 and 13): online softmax (Milakov &
// Gimelshein, 2018; Dao et al., "FlashAttention", 2022), never a matrix of all scores in memory.
#pragma once
#include <span>

#include "../../core/context.h"
#include "../random/op.h"

namespace md::masked_attention {

/// Order shared with `maskCode` in packages/tensor/src/ops/attention.ts.
enum class MaskKind : int32_t { none, level2, varlen, causal, dense, count };

/// Which keys a query attends.
struct Mask {
  MaskKind kind = MaskKind::none;
  // level2: `samples` · `tokensPerSample` action tokens, then `conditionTokens`. A sample meets itself and the condition,
  // the condition meets the condition. Queries are all tokens or the action tokens alone; keys are all tokens.
  int64_t samples = 0, tokensPerSample = 0, conditionTokens = 0;
  std::span<const int32_t> conditionLengths;  // [B] or empty; condition tokens from there on neither attend nor are attended
  std::span<const int32_t> cuSeqlensQ, cuSeqlensK;  // varlen, batch of 1: [segments + 1] from 0 to Tq and Tk
  const Tensor* dense = nullptr;                    // bool, broadcastable to [B, H, Tq, Tk]; true = may attend
};                                                  // causal: query i meets keys j <= i + Tk - Tq

struct Forward {
  Tensor out;        // [B, H, Tq, D] in the memory order [B, Tq, H, D]
  Tensor logSumExp;  // [B, H, Tq]: base-2 logarithm of the softmax denominator; +infinity for a fully masked row
};
/// Keys and values.
struct Keys {
  Tensor k, v;  // [B, H, Tk, D]
};
struct Gradients {
  Tensor q, k, v;  // as the operands, in the memory order [B, T, H, D]
  Keys own;        // likewise; empty where there are none
  Tensor qWeight, qBias, kWeight, kBias;  // [D]; empty where there is no norm
};

/// What rows of q or k go through on their way into the kernel; a null tensor leaves its part out.
struct RowPreparation {
  const Tensor* weight = nullptr;  // [D]: LayerNorm over a head (population variance)
  const Tensor* bias = nullptr;    // [D]
  const Tensor* rotary = nullptr;  // table [B or 1, T, pairs, 2] of rotary_embedding
};

struct Options {
  double scale = 1;
  RowPreparation q, k;
  double eps = 1e-5;
  bool rotateFirst = false;  // before the norm instead of after it
  // Each weight becomes 0 with probability p (to 1 / 65536), else grows by 1 / (1 - p): blocks of
  // `stream`, ceil(Tk / 8) a query.
  double p = 0;
  random::Stream stream{};
  // Of the action tokens of a level2 mask; then k and v are the condition's alone, and go through no preparation. On the CPU.
  const Keys* own = nullptr;
};

/// dropout(softmax(scale · q kᵀ under mask)) v, of prepared q and k. q [B, H, Tq, D], k and v [B, H, Tk, D], f32 or f64, any
/// strides; on a CUDA device D is at most 128, and f16 and bf16 are computed in f32, with f32 norms and tables. A row that attends nothing gives 0. ShapeError, DTypeError; ValueError for a
/// mask that does not describe these tokens.
Forward forward(Context& context, const Tensor& q, const Tensor& k, const Tensor& v, const Mask& mask, const Options& options, const char* op);

/// Gradients of `forward` for the cotangent `grad` of its out.
Gradients backward(Context& context, const Tensor& q, const Tensor& k, const Tensor& v, const Forward& saved, const Tensor& grad,
                   const Mask& mask, const Options& options, const char* op);

}  // namespace md::masked_attention
