// Cross-entropy of logits against class indices, with label smoothing.
#pragma once
#include "../../core/context.h"
#include "../../isa/isa.h"

namespace md::cross_entropy {

/// Order shared with `reductions` in packages/tensor/src/ops/losses.ts.
enum class Mode : int32_t { mean, sum, none, count };

struct Output {
  Tensor loss;         // scalar, or [...] for Mode::none
  Tensor normalizers;  // [..., 2], for the gradient: the greatest logit, and the sum of e^(logit - greatest)
};

/// logits [..., C], target [...] of i32 or i64 in [0, C) (ValueError otherwise), 0 <= smoothing <= 1: the target
/// distribution is (1 - smoothing) one-hot + smoothing / C. The mean of no items is NaN.
Output crossEntropy(Context& context, const Tensor& logits, const Tensor& target, double smoothing, Mode mode, const char* op);

/// (softmax - target distribution) · grad, over the number of items for Mode::mean.
Tensor crossEntropyGrad(Context& context, const Tensor& logits, const Tensor& target, const Tensor& normalizers, const Tensor& grad,
                        double smoothing, Mode mode, const char* op);

// Kernels of cpu.cpp: items [begin, end).
MD_KERNEL(void, lossRange, DType dtype, int64_t classes, double smoothing, int64_t begin, int64_t end, const void* logits,
          const int64_t* target, void* loss, void* normalizers)
/// `gradStep` is 1 where each item has its own gradient, 0 where they share one; `scale` multiplies it.
MD_KERNEL(void, lossGradRange, DType dtype, int64_t classes, double smoothing, int64_t begin, int64_t end, const void* logits,
          const int64_t* target, const void* normalizers, const void* grad, int64_t gradStep, double scale, void* out)

}  // namespace md::cross_entropy
