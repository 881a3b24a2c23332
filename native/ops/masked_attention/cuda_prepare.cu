// Rows of q and k on their way into the kernels, and their gradients on the way out: a warp for a row. Keys meet many blocks
// of queries, so they are prepared once, in a pass of their own.
#include "cuda_tile.h"

namespace md::masked_attention {
namespace {

using namespace md::cuda;

constexpr int kPairs = kMostHeadDim / 2 / kWarp;  // of neighbouring channels, that a lane holds
constexpr int kGradRows = 32;                     // that a warp turns one after another

/// The channels of one row that belong to this lane: pairs lane, lane + 32, …
template <class T>
struct LanePairs {
  T x[kPairs][2];

  /// f(element, channel) for those that exist.
  template <class F>
  __device__ void each(int64_t headDim, F f) {
    for (int i = 0; i < kPairs; i++) {
      for (int half = 0; half < 2; half++) {
        const int64_t d = 2 * (static_cast<int>(threadIdx.x % kWarp) + i * kWarp) + half;
        if (d < headDim) f(x[i][half], d);
      }
    }
  }

  template <class Stored>
  __device__ void load(const Stored* row, int64_t headDim) {
    each(headDim, [&](T& v, int64_t d) { v = static_cast<T>(row[d]); });
  }
  template <class Stored>
  __device__ void store(Stored* row, int64_t headDim) {
    each(headDim, [&](T& v, int64_t d) { row[d] = static_cast<Stored>(v); });
  }

  __device__ void rotate(const Preparation& p, int64_t batch, int64_t token, T sign) {
    const T* table = static_cast<const T*>(p.rotary) + batch * p.rotaryBatch + token * p.rotaryToken;
    for (int i = 0; i < kPairs; i++) {
      const int64_t pair = static_cast<int>(threadIdx.x % kWarp) + i * kWarp;
      if (pair >= p.pairs) continue;
      const T c = table[2 * pair], s = sign * table[2 * pair + 1], first = x[i][0], second = x[i][1];
      x[i][0] = first * c - second * s;
      x[i][1] = first * s + second * c;
    }
  }

  /// To x̂ = (x - mean) / standard deviation; returns the divisor's inverse.
  __device__ T normalize(int64_t headDim, double eps) {
    T sum = 0, squares = 0;
    each(headDim, [&](T& v, int64_t) { sum += v; });
    const T mean = warpReduce(sum, Add()) / static_cast<T>(headDim);
    each(headDim, [&](T& v, int64_t) {
      v -= mean;
      squares += v * v;
    });
    const T rstd = T(1) / std::sqrt(warpReduce(squares, Add()) / static_cast<T>(headDim) + static_cast<T>(eps));
    each(headDim, [&](T& v, int64_t) { v *= rstd; });
    return rstd;
  }
};

/// A row of [B, tokens, H], in the order of memory.
struct RowAt {
  int64_t batch, head, token;
  __device__ RowAt(int64_t row, int64_t heads, int64_t tokens) : batch(row / heads / tokens), head(row % heads), token(row / heads % tokens) {}
};

/// Into rows of `pitch` elements, the last of them 0. Rows are stored as Stored; weights, bias and table are
/// Computed<Stored>.
template <class Stored>
__global__ void prepareKernel(int64_t count, int64_t heads, int64_t tokens, int64_t headDim, int64_t pitch, Preparation p, Rows x,
                              Stored* __restrict__ out) {
  using T = Computed<Stored>;
  const int64_t row = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) / kWarp;
  if (row >= count) return;
  const RowAt at(row, heads, tokens);
  LanePairs<T> own;
  own.load(x.at<Stored>(at.batch, at.head, at.token), headDim);
  if (p.rotary && p.rotateFirst) own.rotate(p, at.batch, at.token, T(1));
  if (p.weight) {
    const T* weight = static_cast<const T*>(p.weight);
    const T* bias = static_cast<const T*>(p.bias);
    own.normalize(headDim, p.eps);
    own.each(headDim, [&](T& v, int64_t d) { v = v * weight[d] + (bias ? bias[d] : T(0)); });
  }
  if (p.rotary && !p.rotateFirst) own.rotate(p, at.batch, at.token, T(1));
  own.store(out + row * pitch, headDim);
  if (headDim + threadIdx.x % kWarp < pitch) out[row * pitch + headDim + threadIdx.x % kWarp] = Stored(0);
}

/// partial [warps, 2, D]: what the rows of a warp give to the gradients of weight and bias.
template <class Stored>
__global__ void prepareGradKernel(int64_t count, int64_t heads, int64_t tokens, int64_t headDim, Preparation p, Rows x, Rows grad,
                                  double* __restrict__ partial) {
  using T = Computed<Stored>;
  const int64_t warp = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) / kWarp;
  if (warp * kGradRows >= count) return;
  LanePairs<double> dWeight{}, dBias{};
  for (int64_t row = warp * kGradRows; row < count && row < (warp + 1) * kGradRows; row++) {
    const RowAt at(row, heads, tokens);
    Stored* const to = grad.at<Stored>(at.batch, at.head, at.token);
    LanePairs<T> g{};
    g.load(to, headDim);
    bool any = false;
    g.each(headDim, [&](T& v, int64_t) { any = any || v != T(0); });
    if (!__any_sync(~0u, any)) continue;  // a padding row, which may hold NaN
    if (p.rotary && !p.rotateFirst) g.rotate(p, at.batch, at.token, T(-1));
    if (p.weight) {
      const T* weight = static_cast<const T*>(p.weight);
      LanePairs<T> normed{};
      normed.load(x.at<Stored>(at.batch, at.head, at.token), headDim);
      if (p.rotary && p.rotateFirst) normed.rotate(p, at.batch, at.token, T(1));
      const T rstd = normed.normalize(headDim, p.eps);
      T sum = 0, along = 0;
      for (int i = 0; i < kPairs; i++) {
        for (int half = 0; half < 2; half++) {
          const int64_t d = 2 * (static_cast<int>(threadIdx.x % kWarp) + i * kWarp) + half;
          if (d >= headDim) continue;
          dWeight.x[i][half] += static_cast<double>(g.x[i][half] * normed.x[i][half]);
          dBias.x[i][half] += static_cast<double>(g.x[i][half]);
          g.x[i][half] *= weight[d];
          sum += g.x[i][half];
          along += g.x[i][half] * normed.x[i][half];
        }
      }
      const T mean = warpReduce(sum, Add()) / static_cast<T>(headDim), slope = warpReduce(along, Add()) / static_cast<T>(headDim);
      for (int i = 0; i < kPairs; i++) {
        for (int half = 0; half < 2; half++) g.x[i][half] = rstd * (g.x[i][half] - mean - slope * normed.x[i][half]);
      }
    }
    if (p.rotary && p.rotateFirst) g.rotate(p, at.batch, at.token, T(-1));
    g.store(to, headDim);
  }
  if (!p.weight) return;
  dWeight.store(partial + 2 * warp * headDim, headDim);
  dBias.store(partial + (2 * warp + 1) * headDim, headDim);
}

/// A block for a channel of one of the two.
template <class T>
__global__ void affineCombine(int64_t warps, int64_t headDim, const double* __restrict__ partial, T* __restrict__ dWeight, T* __restrict__ dBias) {
  MD_SHARED(double, parts, [kThreads / kWarp]);
  double sum = 0;
  for (int64_t i = threadIdx.x; i < warps; i += kThreads) sum += partial[2 * i * headDim + blockIdx.x];
  sum = blockReduce(sum, parts, Add());
  if (threadIdx.x != 0) return;
  (blockIdx.x < headDim ? dWeight[blockIdx.x] : dBias[blockIdx.x - headDim]) = static_cast<T>(sum);
}

unsigned blocksOf(int64_t warps) { return static_cast<unsigned>((warps * kWarp + kThreads - 1) / kThreads); }

/// `rows` becomes those of the prepared copy that is returned, of `pitch` elements each.
Tensor prepare(Context& context, const Problem& p, const Preparation& preparation, Rows& rows, int64_t tokens, int64_t pitch, const char* op) {
  const int64_t count = p.batch * p.heads * tokens;
  const Tensor out = empty(context, p.dtype, {p.batch, tokens, p.heads, pitch}, op);
  if (out.numel() == 0) return out;
  dispatchStoredFloat(p.dtype, op, [&](auto tag) {
    using Stored = typename decltype(tag)::type;
    launch(context, op, prepareKernel<Stored>, blocksOf(count), kThreads, count, p.heads, tokens, p.headDim, pitch, preparation, rows,
           out.data<Stored>());
  });
  rows = {out.raw(), out.stride[0], out.stride[2], out.stride[1]};
  return out;
}

int64_t packedPitch(int64_t headDim) { return (headDim + 7) / 8 * 8; }

}  // namespace

Tensor packRows(Context& context, const Problem& p, Rows& rows, int64_t tokens, const char* op) {
  const auto whole = [](int64_t elements) { return elements % 8 == 0; };
  const bool packed = reinterpret_cast<uintptr_t>(rows.data) % 16 == 0 && whole(rows.batch) && whole(rows.head) && whole(rows.token) && whole(p.headDim);
  return packed ? Tensor{} : prepare(context, p, {}, rows, tokens, packedPitch(p.headDim), op);
}

PreparedProblem::PreparedProblem(Context& context, const Problem& original, CudaKernel kernel, const char* op) : problem(original) {
  const bool fragments = kernel == CudaKernel::fragments;
  const auto side = [&](Preparation& preparation, Rows& rows, int64_t tokens) {
    if (!preparation.any()) return fragments ? packRows(context, original, rows, tokens, op) : Tensor{};
    Tensor out = prepare(context, original, preparation, rows, tokens, fragments ? packedPitch(original.headDim) : original.headDim, op);
    preparation = {};
    return out;
  };
  q = side(problem.prepareQ, problem.q, original.queries);
  k = side(problem.prepareK, problem.k.others, original.keys);
  if (fragments) v = packRows(context, original, problem.v.others, original.keys, op);
}

void prepareGradCuda(Context& context, const Tensor& x, const Preparation& preparation, const Tensor& grad, void* dWeight, void* dBias, const char* op) {
  const int64_t heads = x.shape[1], tokens = x.shape[2], headDim = x.shape[3], count = x.shape[0] * heads * tokens;
  if (headDim == 0) return;
  const int64_t warps = (count + kGradRows - 1) / kGradRows;
  const Tensor partial = empty(context, DType::f64, {warps, 2, headDim}, op);
  dispatchStoredFloat(x.dtype, op, [&](auto tag) {
    using Stored = typename decltype(tag)::type;
    using T = Computed<Stored>;
    if (warps > 0) {
      launch(context, op, prepareGradKernel<Stored>, blocksOf(warps), kThreads, count, heads, tokens, headDim, preparation, rowsOf(x), rowsOf(grad),
             partial.data<double>());
    }
    if (!dWeight) return;
    launch(context, op, affineCombine<T>, static_cast<unsigned>(2 * headDim), kThreads, warps, headDim, partial.data<double>(), static_cast<T*>(dWeight),
           static_cast<T*>(dBias));
  });
}

}  // namespace md::masked_attention
