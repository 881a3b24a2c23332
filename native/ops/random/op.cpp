#include "op.h"

#include <algorithm>
#include <cmath>

#include "../../core/philox.h"
#include "cuda.h"

namespace md::random {
namespace {

constexpr int64_t kGrain = 1 << 12;
constexpr int64_t kAlign = 256;  // parts begin at a multiple: a block never crosses two parts

// range(begin, end) over n elements in parts that begin at whole blocks.
template <class Range>
void overElements(Context& context, int64_t n, Range range) {
  parallelForLater(context.pool, (n + kAlign - 1) / kAlign, kGrain / kAlign, [=](int64_t begin, int64_t end) {
    range(begin * kAlign, std::min(n, end * kAlign));
  });
}

void requireFinite(double value, const char* op, const char* operand) {
  if (!std::isfinite(value)) fail(ErrorKind::value, op, operand, " is ", value, ", expected a finite number");
}

void requireFloatDType(DType dtype, const char* op) {
  if (!isFloat(dtype)) fail(ErrorKind::dtype, op, "dtype is ", dtypeName(dtype), ", expected f32 or f64");
}

/// 32 random bits below it are "true".
uint64_t thresholdOf(double probability) { return static_cast<uint64_t>(std::llround(probability * 0x1p32)); }

}  // namespace

Tensor uniform(Context& context, DType dtype, const Dims& shape, double low, double high, Stream stream, const char* op) {
  requireFloatDType(dtype, op);
  requireFinite(low, op, "low");
  requireFinite(high, op, "high");
  if (!(low < high)) fail(ErrorKind::value, op, "low is ", low, " and high ", high, ", expected low < high");
  Tensor out = empty(context, dtype, shape, op);
  if (context.onCuda()) {
    uniformCuda(context, stream, low, high, out, op);
    return out;
  }
  overElements(context, out.numel(), [=, to = out.raw()](int64_t begin, int64_t end) { MD_CALL(uniformRange)(dtype, stream, begin, end, low, high, to); });
  return out;
}

Tensor normal(Context& context, DType dtype, const Dims& shape, double mean, double std, Stream stream, const char* op) {
  requireFloatDType(dtype, op);
  requireFinite(mean, op, "mean");
  requireFinite(std, op, "std");
  if (!(std >= 0)) fail(ErrorKind::value, op, "std is ", std, ", expected at least 0");
  Tensor out = empty(context, dtype, shape, op);
  if (context.onCuda()) {
    normalCuda(context, stream, mean, std, out, op);
    return out;
  }
  overElements(context, out.numel(), [=, to = out.raw()](int64_t begin, int64_t end) { MD_CALL(normalRange)(dtype, stream, begin, end, mean, std, to); });
  return out;
}

Tensor randint(Context& context, const Dims& shape, int64_t low, int64_t high, Stream stream, const char* op) {
  if (!(low < high)) fail(ErrorKind::value, op, "low is ", low, " and high ", high, ", expected low < high");
  const uint64_t count = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
  Tensor out = empty(context, DType::i64, shape, op);
  if (context.onCuda()) {
    randintCuda(context, stream, low, count, out, op);
    return out;
  }
  overElements(context, out.numel(), [=, to = out.data<int64_t>()](int64_t begin, int64_t end) { MD_CALL(randintRange)(stream, begin, end, low, count, to); });
  return out;
}

Tensor bernoulli(Context& context, const Dims& shape, double probability, Stream stream, const char* op) {
  if (!(probability >= 0 && probability <= 1)) fail(ErrorKind::value, op, "probability is ", probability, ", expected 0 to 1");
  Tensor out = empty(context, DType::boolean, shape, op);
  const uint64_t threshold = thresholdOf(probability);
  if (context.onCuda()) {
    bernoulliCuda(context, stream, threshold, out, op);
    return out;
  }
  overElements(context, out.numel(), [=, to = out.data<uint8_t>()](int64_t begin, int64_t end) { MD_CALL(bernoulliRange)(stream, begin, end, threshold, to); });
  return out;
}

Tensor dropout(Context& context, const Tensor& input, double p, Stream stream, const char* op) {
  requireFloat(input, op, "x");
  if (!(p >= 0 && p < 1)) fail(ErrorKind::value, op, "p is ", p, ", expected 0 <= p < 1");
  const Tensor x = contiguous(context, input, op);
  Tensor out = empty(context, x.dtype, x.shape, op);
  const uint64_t threshold = thresholdOf(1 - p);
  if (context.onCuda()) {
    dropoutCuda(context, stream, threshold, 1 / (1 - p), x, out, op);
    return out;
  }
  overElements(context, x.numel(), [=, dtype = x.dtype, x = x.raw(), to = out.raw()](int64_t begin, int64_t end) {
    MD_CALL(dropoutRange)(dtype, stream, begin, end, threshold, 1 / (1 - p), x, to);
  });
  return out;
}

uint64_t childKey(uint64_t key, uint64_t index) {
  // Draws leave the upper half of the counter at 0; children take it at 1.
  const Philox4 block = philox(key, index, 1);
  return (static_cast<uint64_t>(block.v[0]) << 32 | block.v[1]) >> 11;
}

}  // namespace md::random
