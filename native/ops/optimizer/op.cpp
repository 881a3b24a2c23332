#include "op.h"

#include <algorithm>
#include <cmath>

#include "cuda.h"

namespace md::optimizer {
namespace {

constexpr int64_t kGrain = 1 << 14;
constexpr int64_t kChunk = 1 << 14;  // elements of one partial sum of squares

void requireInPlace(const Tensor& x, const char* op, const char* list, size_t index) {
  if (!isFloat(x.dtype)) fail(ErrorKind::dtype, op, list, "[", index, "] has dtype ", dtypeName(x.dtype), ", expected f32 or f64");
  if (!x.contiguous()) fail(ErrorKind::unsupported, op, list, "[", index, "] is a strided view, expected a contiguous tensor to update in place");
}

void requireLike(const Tensor& x, const Tensor& like, const char* op, const char* list, size_t index) {
  if (x.dtype != like.dtype) {
    fail(ErrorKind::dtype, op, list, "[", index, "] has dtype ", dtypeName(x.dtype), ", expected ", dtypeName(like.dtype));
  }
  if (!(x.shape == like.shape)) fail(ErrorKind::shape, op, list, "[", index, "] has shape ", x.shape.str(), ", expected ", like.shape.str());
}

void requireLength(size_t found, size_t expected, const char* op, const char* list) {
  if (found != expected) fail(ErrorKind::shape, op, found, " ", list, ", expected ", expected);
}

std::vector<Tensor> contiguousAll(Context& context, const std::vector<Tensor>& tensors, const char* op) {
  std::vector<Tensor> out;
  out.reserve(tensors.size());
  for (const Tensor& x : tensors) out.push_back(contiguous(context, x, op));
  return out;
}

void* at(const Tensor& x, int64_t element) { return static_cast<char*>(x.raw()) + element * static_cast<int64_t>(itemSize(x.dtype)); }

// range(tensor index, first element, elements) over all tensors laid end to end, cut evenly among the threads.
template <class Range>
void overAll(Context& context, const std::vector<Tensor>& tensors, Range&& range) {
  int64_t total = 0;
  for (const Tensor& x : tensors) total += x.numel();
  parallelFor(context.pool, total, kGrain, [&](int64_t begin, int64_t end) {
    int64_t start = 0;
    for (size_t i = 0; i < tensors.size() && start < end; i++) {
      const int64_t n = tensors[i].numel();
      const int64_t from = std::max<int64_t>(begin - start, 0), to = std::min(end - start, n);
      if (from < to) range(i, from, to - from);
      start += n;
    }
  });
}

}  // namespace

void adamwStep(Context& context, const std::vector<Tensor>& parameters, const std::vector<Tensor>& gradients,
               const std::vector<Tensor>& expAvgs, const std::vector<Tensor>& expAvgSqs, const AdamW& o, const char* op) {
  requireLength(gradients.size(), parameters.size(), op, "grads");
  requireLength(expAvgs.size(), parameters.size(), op, "expAvgs");
  requireLength(expAvgSqs.size(), parameters.size(), op, "expAvgSqs");
  for (size_t i = 0; i < parameters.size(); i++) {
    requireInPlace(parameters[i], op, "parameters", i);
    requireInPlace(expAvgs[i], op, "expAvgs", i);
    requireInPlace(expAvgSqs[i], op, "expAvgSqs", i);
    requireLike(gradients[i], parameters[i], op, "grads", i);
    requireLike(expAvgs[i], parameters[i], op, "expAvgs", i);
    requireLike(expAvgSqs[i], parameters[i], op, "expAvgSqs", i);
  }
  if (o.step < 1) fail(ErrorKind::value, op, "step is ", o.step, ", expected at least 1");
  for (double beta : {o.beta1, o.beta2}) {
    if (!(beta >= 0 && beta < 1)) fail(ErrorKind::value, op, "beta is ", beta, ", expected 0 <= beta < 1");
  }
  if (!(o.gradScale >= 0) || !std::isfinite(o.gradScale)) fail(ErrorKind::value, op, "gradient scale is ", o.gradScale, ", expected a finite number of at least 0");
  if (!std::isfinite(o.learningRate) || !(o.eps >= 0) || !(o.weightDecay >= 0)) {
    fail(ErrorKind::value, op, "learning rate ", o.learningRate, ", eps ", o.eps, ", weight decay ", o.weightDecay,
         ": expected finite numbers, the last two at least 0");
  }
  const double correction1 = 1 - std::pow(o.beta1, static_cast<double>(o.step)), correction2 = 1 - std::pow(o.beta2, static_cast<double>(o.step));
  const AdamWFactors factors{o.gradScale, 1 - o.learningRate * o.weightDecay, o.beta1, o.beta2, o.learningRate / correction1, 1 / std::sqrt(correction2), o.eps};
  const std::vector<Tensor> grads = contiguousAll(context, gradients, op);
  if (context.onCuda()) return adamwCuda(context, parameters, grads, expAvgs, expAvgSqs, factors, op);
  overAll(context, parameters, [&](size_t i, int64_t from, int64_t n) {
    MD_CALL(adamwRange)(parameters[i].dtype, n, factors, at(parameters[i], from), at(grads[i], from), at(expAvgs[i], from), at(expAvgSqs[i], from));
  });
}

double globalNorm(Context& context, const std::vector<Tensor>& tensors, const char* op) {
  struct Chunk {
    const Tensor* x;
    int64_t from, n;
    double squares;
  };
  for (const Tensor& x : tensors) requireFloat(x, op, "x");
  const std::vector<Tensor> all = contiguousAll(context, tensors, op);
  if (context.onCuda()) return std::sqrt(squaresCuda(context, all, op));
  std::vector<Chunk> chunks;
  for (const Tensor& x : all) {
    for (int64_t from = 0; from < x.numel(); from += kChunk) chunks.push_back({&x, from, std::min(kChunk, x.numel() - from), 0});
  }
  parallelFor(context.pool, static_cast<int64_t>(chunks.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      Chunk& chunk = chunks[static_cast<size_t>(i)];
      chunk.squares = MD_CALL(squaresRange)(chunk.x->dtype, chunk.n, at(*chunk.x, chunk.from));
    }
  });
  double total = 0;
  for (const Chunk& chunk : chunks) total += chunk.squares;
  return std::sqrt(total);
}

void emaUpdate(Context& context, const std::vector<Tensor>& averages, const std::vector<Tensor>& tensors, double decay, const char* op) {
  requireLength(tensors.size(), averages.size(), op, "tensors");
  for (size_t i = 0; i < averages.size(); i++) {
    requireInPlace(averages[i], op, "averages", i);
    requireLike(tensors[i], averages[i], op, "tensors", i);
  }
  if (!(decay >= 0 && decay <= 1)) fail(ErrorKind::value, op, "decay is ", decay, ", expected 0 to 1");
  const std::vector<Tensor> from = contiguousAll(context, tensors, op);
  if (context.onCuda()) return emaCuda(context, averages, from, decay, op);
  overAll(context, averages, [&](size_t i, int64_t first, int64_t n) {
    MD_CALL(emaRange)(averages[i].dtype, n, decay, at(averages[i], first), at(from[i], first));
  });
}

}  // namespace md::optimizer
