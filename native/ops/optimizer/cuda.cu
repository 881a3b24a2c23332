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
MD_HOST_DEVICE Factors<T> roundedTo(const AdamWFactors& f) {
  return {static_cast<T>(f.gradScale), static_cast<T>(f.decay),     static_cast<T>(f.beta1),
          static_cast<T>(1 - f.beta1), static_cast<T>(f.beta2),     static_cast<T>(1 - f.beta2),
          static_cast<T>(f.stepSize),  static_cast<T>(f.inverseRootCorrection2), static_cast<T>(f.eps)};
}

/// The factors of a step whose numbers lie on the device.
struct StepFactors {
  bool valid;  // else nothing is to be changed
  Factors<float> f32;
  Factors<double> f64;
};

/// What a complaint calls them; of the host.
struct Names {
  const char* op;
  const char* learningRate;
  const char* gradScale;
};

/// One thread, before those that update.
__global__ void factorsKernel(const double* learningRate, int64_t* step, const double* gradScale, AdamWConstants constants, StepFactors* out,
                              Complaint* complaint, Names names) {
  if (threadIdx.x != 0) return;
  const double rate = *learningRate, scale = *gradScale;
  const bool rateIsFinite = rate - rate == 0, scaleIsFinite = scale - scale == 0;
  out->valid = rateIsFinite && scaleIsFinite;
  if (!out->valid) return complain(complaint, names.op, Wrong::notFinite, 0, 0, 0, scaleIsFinite ? names.learningRate : names.gradScale);
  const AdamWFactors factors = factorsOf(constants, rate, ++*step, scale);
  out->f32 = roundedTo<float>(factors);
  out->f64 = roundedTo<double>(factors);
}

/// @param given null, or on the device in place of f
template <class T>
__global__ void adamwKernel(Group<4> group, Factors<T> f, const StepFactors* given) {
  if (given) {
    if (!given->valid) return;
    if constexpr (sizeof(T) == 4) {
      f = given->f32;
    } else {
      f = given->f64;
    }
  }
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

/// One block.
__global__ void normKernel(int64_t n, const double* __restrict__ partial, double* __restrict__ norm) {
  MD_SHARED(double, parts, [kThreads / kWarp]);
  double own = 0;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) own += partial[i];
  const double total = blockReduce(own, parts, Add());
  if (threadIdx.x == 0) *norm = std::sqrt(total);
}

dim3 gridOf(int64_t most, int count) { return dim3(std::min(blocksFor(most), 1024u), static_cast<unsigned>(count)); }

void adamw(Context& context, const std::vector<Tensor>& parameters, const std::vector<Tensor>& grads, const std::vector<Tensor>& expAvgs,
           const std::vector<Tensor>& expAvgSqs, const AdamWFactors& factors, const StepFactors* given, const char* op) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    forGroups<4>({&parameters, &grads, &expAvgs, &expAvgSqs}, dtype, [&](const Group<4>& group, int64_t most) {
      dispatchFloat(dtype, op, [&](auto tag) {
        using T = typename decltype(tag)::type;
        launch(context, op, adamwKernel<T>, gridOf(most, group.count), kThreads, group, roundedTo<T>(factors), given);
      });
    });
  }
}

}  // namespace

void adamwCuda(Context& context, const std::vector<Tensor>& parameters, const std::vector<Tensor>& grads, const std::vector<Tensor>& expAvgs,
               const std::vector<Tensor>& expAvgSqs, const AdamWFactors& factors, const char* op) {
  adamw(context, parameters, grads, expAvgs, expAvgSqs, factors, nullptr, op);
}

void adamwCuda(Context& context, const std::vector<Tensor>& parameters, const std::vector<Tensor>& grads, const std::vector<Tensor>& expAvgs,
               const std::vector<Tensor>& expAvgSqs, const AdamWConstants& constants, const AdamWTensors& tensors, const char* op) {
  const Tensor given = empty(context, DType::u8, {sizeof(StepFactors)}, op);
  auto* const factors = static_cast<StepFactors*>(given.raw());
  launch(context, op, factorsKernel, 1, kWarp, tensors.learningRate.data<double>(), tensors.step.data<int64_t>(), tensors.gradScale.data<double>(), constants,
         factors, complaintOf(context), Names{op, "learning rate", "gradient scale"});
  adamw(context, parameters, grads, expAvgs, expAvgSqs, AdamWFactors{}, factors, op);
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

void globalNormCuda(Context& context, const std::vector<Tensor>& tensors, const Tensor& norm, const char* op) {
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
  launch(context, op, normKernel, 1, kThreads, partial.numel(), partial.data<double>(), norm.data<double>());
}

}  // namespace md::optimizer
