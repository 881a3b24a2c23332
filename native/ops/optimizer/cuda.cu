#include "cuda.h"

#include <algorithm>
#include <cmath>

#include "../../core/cuda/reduce.h"

namespace md::optimizer {
namespace {

using namespace md::cuda;

constexpr int kMostTensors = 64;     // of one launch: their addresses travel as arguments
constexpr unsigned kNormBlocks = 64;  // of one tensor at most

/// Addresses of up to kMostTensors groups of `lists` tensors with the same number of elements.
template <int lists>
struct Group {
  int count;
  int64_t numel[kMostTensors];
  void* data[kMostTensors][lists];
};

/// f(group, most elements of its tensors) for consecutive tensors of `dtype`. Every list has the same shapes.
template <int lists, class F>
void forGroups(const std::vector<Tensor>* const (&given)[lists], DType dtype, F f) {
  Group<lists> group{};
  int64_t most = 0;
  const auto flush = [&] {
    if (group.count > 0) f(group, most);
    group.count = 0;
    most = 0;
  };
  for (size_t i = 0; i < given[0]->size(); i++) {
    const Tensor& first = (*given[0])[i];
    if (first.dtype != dtype || first.numel() == 0) continue;
    group.numel[group.count] = first.numel();
    for (int list = 0; list < lists; list++) group.data[group.count][list] = (*given[list])[i].raw();
    most = std::max(most, first.numel());
    if (++group.count == kMostTensors) flush();
  }
  flush();
}

template <class T>
struct Factors {
  T gradScale, decay, beta1, rest1, beta2, rest2, stepSize, root, eps;
};

template <class T>
__global__ void adamwKernel(Group<4> group, Factors<T> f) {
  T* p = static_cast<T*>(group.data[blockIdx.y][0]);
  const T* g = static_cast<const T*>(group.data[blockIdx.y][1]);
  T* m = static_cast<T*>(group.data[blockIdx.y][2]);
  T* v = static_cast<T*>(group.data[blockIdx.y][3]);
  gridStride(group.numel[blockIdx.y], [&](int64_t i) {
    const T grad = f.gradScale * g[i];
    m[i] = f.beta1 * m[i] + f.rest1 * grad;
    v[i] = f.beta2 * v[i] + f.rest2 * (grad * grad);
    p[i] = f.decay * p[i] - f.stepSize * (m[i] / (std::sqrt(v[i]) * f.root + f.eps));
  });
}

template <class T>
__global__ void emaKernel(Group<2> group, T keep, T rest) {
  T* average = static_cast<T*>(group.data[blockIdx.y][0]);
  const T* x = static_cast<const T*>(group.data[blockIdx.y][1]);
  gridStride(group.numel[blockIdx.y], [&](int64_t i) { average[i] = keep * average[i] + rest * x[i]; });
}

/// partial [tensors, kNormBlocks], cleared
template <class T>
__global__ void squaresKernel(Group<1> group, double* __restrict__ partial) {
  MD_SHARED(double, parts, [kThreads / kWarp]);
  const T* x = static_cast<const T*>(group.data[blockIdx.y][0]);
  double own = 0;
  gridStride(group.numel[blockIdx.y], [&](int64_t i) { own += static_cast<double>(x[i]) * static_cast<double>(x[i]); });
  const double total = blockReduce(own, parts, Add());
  if (threadIdx.x == 0) partial[blockIdx.y * kNormBlocks + blockIdx.x] = total;
}

dim3 gridOf(int64_t most, int count) { return dim3(std::min(blocksFor(most), 1024u), static_cast<unsigned>(count)); }

}  // namespace

void adamwCuda(Context& context, const std::vector<Tensor>& parameters, const std::vector<Tensor>& grads, const std::vector<Tensor>& expAvgs,
               const std::vector<Tensor>& expAvgSqs, const AdamWFactors& f, const char* op) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    forGroups<4>({&parameters, &grads, &expAvgs, &expAvgSqs}, dtype, [&](const Group<4>& group, int64_t most) {
      dispatchFloat(dtype, op, [&](auto tag) {
        using T = typename decltype(tag)::type;
        const auto to = [](double value) { return static_cast<T>(value); };
        const Factors<T> factors{to(f.gradScale), to(f.decay), to(f.beta1), to(1 - f.beta1), to(f.beta2), to(1 - f.beta2), to(f.stepSize), to(f.inverseRootCorrection2), to(f.eps)};
        launch(context, op, adamwKernel<T>, gridOf(most, group.count), kThreads, group, factors);
      });
    });
  }
}

void emaCuda(Context& context, const std::vector<Tensor>& averages, const std::vector<Tensor>& tensors, double decay, const char* op) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    forGroups<2>({&averages, &tensors}, dtype, [&](const Group<2>& group, int64_t most) {
      dispatchFloat(dtype, op, [&](auto tag) {
        using T = typename decltype(tag)::type;
        launch(context, op, emaKernel<T>, gridOf(most, group.count), kThreads, group, static_cast<T>(decay), static_cast<T>(1 - decay));
      });
    });
  }
}

double squaresCuda(Context& context, const std::vector<Tensor>& tensors, const char* op) {
  const Tensor partial = empty(context, DType::f64, {static_cast<int64_t>(tensors.size()), kNormBlocks}, op);
  clear(context, partial, op);
  int64_t done = 0;
  for (const DType dtype : {DType::f32, DType::f64}) {
    forGroups<1>({&tensors}, dtype, [&](const Group<1>& group, int64_t most) {
      dispatchFloat(dtype, op, [&](auto tag) {
        using T = typename decltype(tag)::type;
        const dim3 grid(std::min(blocksFor(most), kNormBlocks), static_cast<unsigned>(group.count));
        launch(context, op, squaresKernel<T>, grid, kThreads, group, partial.data<double>() + done * kNormBlocks);
      });
      done += group.count;
    });
  }
  std::vector<double> sums(static_cast<size_t>(partial.numel()));
  if (!sums.empty()) copyToHost(context, partial, sums.data(), op);
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

}  // namespace md::optimizer
