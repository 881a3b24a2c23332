// Updates of many tensors in one call, in place: AdamW, moving averages; and the norm of many tensors.
#pragma once
#include <vector>

#include "../../core/context.h"
#include "../../isa/isa.h"
#include "shared.h"

namespace md::optimizer {

/// What changes from step to step.
struct AdamWNumbers {
  double learningRate;
  int64_t step;      // 1 for the first update
  double gradScale;  // that gradients are multiplied by on their way in: what clipping their norm takes
};

/// The same as scalars that are read when the update is done and not when it is queued, so that a graph can be replayed.
struct AdamWTensors {
  Tensor learningRate;  // f64
  Tensor step;          // i64: updates done, which this one counts up
  Tensor gradScale;     // f64
};

/// Loshchilov and Hutter (2019), as torch.optim.AdamW: p ← p (1 - lr · weightDecay), m ← β1 m + (1 - β1) g,
/// v ← β2 v + (1 - β2) g², p ← p - lr / (1 - β1^step) · m / (√v / √(1 - β2^step) + eps).
/// Parameters and moments are contiguous and share no elements; all four of one index have the same shape and dtype (f32 or
/// f64).
void adamwStep(Context& context, const std::vector<Tensor>& parameters, const std::vector<Tensor>& grads, const std::vector<Tensor>& expAvgs,
               const std::vector<Tensor>& expAvgSqs, const AdamWConstants& constants, const AdamWNumbers& numbers, const char* op);
/// A learning rate or a scale that is not finite is a ValueError and changes nothing: on a device for whoever waits next.
void adamwStep(Context& context, const std::vector<Tensor>& parameters, const std::vector<Tensor>& grads, const std::vector<Tensor>& expAvgs,
               const std::vector<Tensor>& expAvgSqs, const AdamWConstants& constants, const AdamWTensors& tensors, const char* op);

/// √ of the sum of squares over all tensors, f64 [], accumulated in f64 in an order that depends on the shapes alone.
Tensor globalNorm(Context& context, const std::vector<Tensor>& tensors, const char* op);

/// average ← decay · average + (1 - decay) · x for each pair; averages are contiguous and share no elements.
void emaUpdate(Context& context, const std::vector<Tensor>& averages, const std::vector<Tensor>& tensors, double decay, const char* op);

// Kernels of cpu.cpp, over n adjacent elements.
MD_KERNEL(void, adamwRange, DType dtype, int64_t n, const AdamWFactors& factors, void* p, const void* g, void* m, void* v)
MD_KERNEL(double, squaresRange, DType dtype, int64_t n, const void* x)
MD_KERNEL(void, emaRange, DType dtype, int64_t n, double decay, void* average, const void* x)

}  // namespace md::optimizer
