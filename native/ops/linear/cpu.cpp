#include "../../isa/activations.h"
#include "../../isa/vectors.h"
#include "op.h"

namespace md::linear::MD_ISA {
namespace {

using md::MD_ISA::forVectors;
using md::MD_ISA::loadLanes;
using md::MD_ISA::storeLanes;
using md::MD_ISA::Vec;

constexpr int64_t kBlockRows = 128;  // rows summed before they join the total: rounding errors stay short

template <class T>
void addInto(T* total, const T* part, int64_t cols) {
  forVectors<T>(cols, [&](int64_t j, int n) { storeLanes(loadLanes(total + j, n) + loadLanes(part + j, n), total + j, n); });
}

/// Without `saved` the derivative is one.
template <class T, class F>
void gradRows(int64_t begin, int64_t end, int64_t cols, const T* saved, const T* grad, T* out, T* columnSums, F derivative) {
  T* const block = columnSums ? columnSums + cols : nullptr;
  if (columnSums) {
    for (int64_t j = 0; j < 2 * cols; j++) columnSums[j] = 0;
  }
  for (int64_t i = begin; i < end; i++) {
    forVectors<T>(cols, [&](int64_t j, int n) {
      const int64_t at = i * cols + j;
      Vec<T> g = loadLanes(grad + at, n);
      if (saved) g = g * derivative(loadLanes(saved + at, n));
      if (out) storeLanes(g, out + at, n);
      if (columnSums) storeLanes(loadLanes(block + j, n) + g, block + j, n);
    });
    if (columnSums && ((i - begin) % kBlockRows == kBlockRows - 1 || i + 1 == end)) {
      addInto(columnSums, block, cols);
      for (int64_t j = 0; j < cols; j++) block[j] = 0;
    }
  }
}

template <class T>
void gradRowsOf(Activation activation, int64_t begin, int64_t end, int64_t cols, const void* saved_, const void* grad_, void* out_, void* sums_) {
  const T* saved = static_cast<const T*>(saved_);
  const T* grad = static_cast<const T*>(grad_);
  T* out = static_cast<T*>(out_);
  T* sums = static_cast<T*>(sums_);
  if (activation == Activation::relu) return gradRows(begin, end, cols, saved, grad, out, sums, [](Vec<T> x) { return reluGradOf(x); });
  gradRows(begin, end, cols, saved, grad, out, sums, [](Vec<T> x) { return x; });
}

template <class T>
void sumPartsOf(const void* columnSums, int64_t parts, int64_t cols, void* out_) {
  const T* sums = static_cast<const T*>(columnSums);
  T* out = static_cast<T*>(out_);
  for (int64_t j = 0; j < cols; j++) out[j] = sums[j];
  for (int64_t part = 1; part < parts; part++) addInto(out, sums + part * 2 * cols, cols);
}

}  // namespace

void activationGradRows(DType dtype, Activation activation, int64_t begin, int64_t end, int64_t cols, const void* saved, const void* grad, void* out,
                        void* columnSums) {
  const auto rows = dtype == DType::f32 ? gradRowsOf<float> : gradRowsOf<double>;
  rows(activation, begin, end, cols, saved, grad, out, columnSums);
}

void sumParts(DType dtype, const void* columnSums, int64_t parts, int64_t cols, void* out) {
  const auto sum = dtype == DType::f32 ? sumPartsOf<float> : sumPartsOf<double>;
  sum(columnSums, parts, cols, out);
}

}  // namespace md::linear::MD_ISA
