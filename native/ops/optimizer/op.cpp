#include "op.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>

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

struct List {
  const char* name;
  const std::vector<Tensor>& tensors;
};

// Of tensors that share elements, two threads would update one.
void requireApart(std::initializer_list<List> lists, const char* op) {
  struct Range {
    const char *begin, *end;
    const char* list;
    size_t index;
  };
  std::vector<Range> ranges;
  for (const auto& [name, tensors] : lists) {
    for (size_t i = 0; i < tensors.size(); i++) {
      const char* begin = static_cast<const char*>(tensors[i].raw());
      if (const int64_t n = tensors[i].numel()) ranges.push_back({begin, begin + n * static_cast<int64_t>(itemSize(tensors[i].dtype)), name, i});
    }
  }
  std::ranges::sort(ranges, std::ranges::less{}, &Range::begin);
  for (size_t k = 1; k < ranges.size(); k++) {
    const Range &a = ranges[k - 1], &b = ranges[k];
    if (b.begin < a.end) fail(ErrorKind::value, op, a.list, "[", a.index, "] and ", b.list, "[", b.index, "] share elements, expected tensors apart to update in place");
  }
}

std::vector<Tensor> contiguousAll(Context& context, const std::vector<Tensor>& tensors, const char* op) {
  std::vector<Tensor> out;
  out.reserve(tensors.size());
  for (const Tensor& x : tensors) out.push_back(contiguous(context, x, op));
  return out;
}

void* at(const Tensor& x, int64_t element) { return static_cast<char*>(x.raw()) + element * static_cast<int64_t>(itemSize(x.dtype)); }

// Where the elements of tensors lie that are worked on together.
template <size_t kLists>
struct Place {
  DType dtype;
  int64_t elements;
  std::array<char*, kLists> list;

  void* at(size_t i, int64_t element) const { return list[i] + element * static_cast<int64_t>(itemSize(dtype)); }
};

// range(place, first element, elements) over the tensors of all lists, each list laid end to end and cut evenly among the threads.
template <class Range, class... Lists>
void overAll(Context& context, Range range, const std::vector<Tensor>& first, const Lists&... others) {
  std::vector<Place<1 + sizeof...(others)>> places;
  int64_t total = 0;
  for (size_t i = 0; i < first.size(); i++) {
    places.push_back({first[i].dtype, first[i].numel(), {first[i].template data<char>(), others[i].template data<char>()...}});
    total += first[i].numel();
  }
  parallelForLater(context.pool, total, kGrain, [=, places = std::move(places)](int64_t begin, int64_t end) {
    int64_t start = 0;
    for (const auto& place : places) {
      if (start >= end) break;
      const int64_t from = std::max<int64_t>(begin - start, 0), to = std::min(end - start, place.elements);
      if (from < to) range(place, from, to - from);
      start += place.elements;
    }
  });
}

void requireStep(const std::vector<Tensor>& parameters, const std::vector<Tensor>& gradients, const std::vector<Tensor>& expAvgs,
                 const std::vector<Tensor>& expAvgSqs, const AdamWConstants& c, const char* op) {
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
  requireApart({{"parameters", parameters}, {"expAvgs", expAvgs}, {"expAvgSqs", expAvgSqs}}, op);
  for (double beta : {c.beta1, c.beta2}) {
    if (!(beta >= 0 && beta < 1)) fail(ErrorKind::value, op, "beta is ", beta, ", expected 0 <= beta < 1");
  }
  if (!(c.eps >= 0) || !(c.weightDecay >= 0)) fail(ErrorKind::value, op, "eps ", c.eps, ", weight decay ", c.weightDecay, ": expected numbers of at least 0");
}

}  // namespace

void adamwStep(Context& context, const std::vector<Tensor>& parameters, const std::vector<Tensor>& gradients, const std::vector<Tensor>& expAvgs,
               const std::vector<Tensor>& expAvgSqs, const AdamWConstants& c, const AdamWNumbers& numbers, const char* op) {
  requireStep(parameters, gradients, expAvgs, expAvgSqs, c, op);
  const auto& [learningRate, step, gradScale] = numbers;
  if (step < 1) fail(ErrorKind::value, op, "step is ", step, ", expected at least 1");
  if (!(gradScale >= 0) || !std::isfinite(gradScale)) fail(ErrorKind::value, op, "gradient scale is ", gradScale, ", expected a finite number of at least 0");
  if (!std::isfinite(learningRate)) fail(ErrorKind::value, op, "learning rate is ", learningRate, ", expected a finite number");
  const AdamWFactors factors = factorsOf(c, learningRate, step, gradScale);
  const std::vector<Tensor> grads = contiguousAll(context, gradients, op);
  if (context.onCuda()) return adamwCuda(context, parameters, grads, expAvgs, expAvgSqs, factors, op);
  const auto range = [factors](const auto& x, int64_t from, int64_t n) { MD_CALL(adamwRange)(x.dtype, n, factors, x.at(0, from), x.at(1, from), x.at(2, from), x.at(3, from)); };
  overAll(context, range, parameters, grads, expAvgs, expAvgSqs);
}

void adamwStep(Context& context, const std::vector<Tensor>& parameters, const std::vector<Tensor>& gradients, const std::vector<Tensor>& expAvgs,
               const std::vector<Tensor>& expAvgSqs, const AdamWConstants& c, const AdamWTensors& tensors, const char* op) {
  const auto requireScalar = [&](const Tensor& x, DType dtype, const char* name) {
    requireDType(x, dtype, op, name);
    requireShape(x, {}, op, name);
  };
  requireScalar(tensors.learningRate, DType::f64, "learning rate");
  requireScalar(tensors.step, DType::i64, "step");
  requireScalar(tensors.gradScale, DType::f64, "gradient scale");
  if (context.onCuda()) {
    requireStep(parameters, gradients, expAvgs, expAvgSqs, c, op);
    return adamwCuda(context, parameters, contiguousAll(context, gradients, op), expAvgs, expAvgSqs, c, tensors, op);
  }
  context.pool.finish();
  int64_t& steps = *tensors.step.data<int64_t>();
  const AdamWNumbers numbers{*tensors.learningRate.data<double>(), steps + 1, *tensors.gradScale.data<double>()};
  adamwStep(context, parameters, gradients, expAvgs, expAvgSqs, c, numbers, op);
  steps++;
}

Tensor globalNorm(Context& context, const std::vector<Tensor>& tensors, const char* op) {
  struct Chunk {
    const Tensor* x;
    int64_t from, n;
    double squares;
  };
  for (const Tensor& x : tensors) requireFloat(x, op, "x");
  const std::vector<Tensor> all = contiguousAll(context, tensors, op);
  const Tensor norm = empty(context, DType::f64, {}, op);
  if (context.onCuda()) {
    globalNormCuda(context, all, norm, op);
    return norm;
  }
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
  context.pool.finish();
  double total = 0;
  for (const Chunk& chunk : chunks) total += chunk.squares;
  *norm.data<double>() = std::sqrt(total);
  return norm;
}

void emaUpdate(Context& context, const std::vector<Tensor>& averages, const std::vector<Tensor>& tensors, double decay, const char* op) {
  requireLength(tensors.size(), averages.size(), op, "tensors");
  for (size_t i = 0; i < averages.size(); i++) {
    requireInPlace(averages[i], op, "averages", i);
    requireLike(tensors[i], averages[i], op, "tensors", i);
  }
  requireApart({{"averages", averages}}, op);
  if (!(decay >= 0 && decay <= 1)) fail(ErrorKind::value, op, "decay is ", decay, ", expected 0 to 1");
  const std::vector<Tensor> from = contiguousAll(context, tensors, op);
  if (context.onCuda()) return emaCuda(context, averages, from, decay, op);
  overAll(context, [decay](const auto& x, int64_t begin, int64_t n) { MD_CALL(emaRange)(x.dtype, n, decay, x.at(0, begin), x.at(1, begin)); }, averages, from);
}

}  // namespace md::optimizer
