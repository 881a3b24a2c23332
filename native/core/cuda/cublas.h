// cuBLAS where the machine has it: loaded at run time, so that neither the build nor the binary needs it. Under emulation
// there is none, and the products of ops/matmul/cuda.cu are all there is.
#pragma once
#include <string>

#include "launch.h"

namespace md::cuda {

/// C[m,n] = alpha · A B + beta · C of column-major matrices, `batches` times; leading dimensions and the distances from
/// one item to the next in elements.
struct CublasProduct {
  bool transposeA, transposeB;
  int m, n, k;
  double alpha, beta;
  const void* a;
  int aLeading;
  int64_t aStep;
  const void* b;
  int bLeading;
  int64_t bStep;
  void* c;
  int cLeading;
  int64_t cStep;
  int batches;
};

/// Whether it was found. MD_CUBLAS=off goes without it.
bool hasCublas();
/// Fills a queue's handle unless it has one. hasCublas() is true.
void openCublas(void*& handle, cudaStream_t stream, const char* op);
/// f32 (without TF32), f64, or f16 and bf16 with sums in f32, on the context's stream. hasCublas() is true.
void cublasGemm(const Context& context, DType dtype, const CublasProduct& product, const char* op);
/// Frees what cublasGemm keeps for a queue.
void destroyCublas(void* handle);

}  // namespace md::cuda
