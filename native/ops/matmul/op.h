// Matrix products on packed, register-tiled kernels.
#pragma once
#include "../../core/context.h"
#include "../../isa/isa.h"

namespace md::matmul {

/// Order shared with `activations` in packages/tensor/src/ops/matmul.ts.
enum class Activation : int32_t { none, relu, gelu, geluTanh, silu, count };

/// C[m,n] = act(alpha · A[m,k] B[k,n] + bias) + residual, or with `accumulate` act(C + alpha · A B + bias) + residual.
/// Strides are in elements and may be anything for A and B (0 and transposed included): nothing is copied beforehand. C
/// must not overlap A, B, bias or residual. f32 and f64; on a CUDA device also f16 and bf16, whose sums are f32.
struct GemmArgs {
  DType dtype = DType::f32;
  int64_t m = 0, n = 0, k = 0;
  const void* a = nullptr;
  int64_t aRow = 0, aCol = 1;
  const void* b = nullptr;
  int64_t bRow = 0, bCol = 1;
  void* c = nullptr;
  int64_t cRow = 0, cCol = 1;
  double alpha = 1;
  bool accumulate = false;
  /// Element (i, j) gets bias[i · biasRow + j · biasCol]; null for none. The default strides: one value a column.
  const void* bias = nullptr;
  int64_t biasRow = 0, biasCol = 1;
  Activation activation = Activation::none;
  /// Where not null, beside an activation: gets its derivative at what it was applied to, in the layout of C.
  void* derivative = nullptr;
  /// In the layout of C; null for none.
  const void* residual = nullptr;
  /// Of gemmSerial: whether few rows or columns may be dot products. gemm sets it by the whole product, so that cuts change no bit.
  bool dots = true;
};

/// Axes over which a product is repeated: extents, and the element strides of each operand (0 broadcasts).
struct Batch {
  Dims shape, a, b, c;
};

/// One product, or one for every index of `batch`, queued for all threads. Same thread count, same bits.
void gemm(Context& context, const GemmArgs& args, const char* op);
void gemm(Context& context, const GemmArgs& args, const Batch& batch, const char* op);

/// Two products that do not need each other: threads begin with different ones and take of the other's parts when they are done,
/// so that nobody waits in between. The bits are those of two calls of gemm.
void gemmBoth(Context& context, const GemmArgs& one, const GemmArgs& other, const char* op);

/// PyTorch's matmul: a [..., m, k], b [..., k, n]; leading axes broadcast; a vector is a row on the left and a column on
/// the right, and its axis is dropped from the result. Same dtype, as gemm takes.
Tensor matmul(Context& context, const Tensor& a, const Tensor& b, const char* op);

// Kernels of cpu.cpp: one product on the calling thread, for use inside a parallel region.

struct Tile {
  int64_t rows, cols, lanes;  // of a vector
};
/// The register tile: blocks whose extents are multiples of it waste nothing, and little those whose columns fill vectors.
MD_KERNEL(Tile, gemmTile, DType dtype)
/// Whether gemmSerial computes these as dot products.
MD_KERNEL(bool, gemmUsesDots, const GemmArgs& args)
/// Elements of scratch that gemmSerial needs for these extents and strides, or for smaller extents with these strides.
MD_KERNEL(int64_t, gemmScratch, const GemmArgs& args)
/// `scratch` may be null where gemmScratch says 0. True where it then holds all of B, packed: `packed` tells a later call
/// with the same B (its strides, n and k) and scratch so.
MD_KERNEL(bool, gemmSerial, const GemmArgs& args, void* scratch, bool packed)
/// Rows [begin, end) of C from `parts` partial products, each [m,n] contiguous: their sum in order, then the epilogue.
MD_KERNEL(void, gemmReduce, const GemmArgs& args, const void* partial, int64_t parts, int64_t begin, int64_t end)

}  // namespace md::matmul
