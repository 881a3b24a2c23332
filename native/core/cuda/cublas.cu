#include "cublas.h"

#ifdef __CUDACC__

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>

namespace md::cuda {
namespace {

// Prototypes of cublas_v2.h, whose C interface is the same in versions 12 and 13.
using Handle = void*;
template <class T>
using Gemm = int (*)(Handle, int transposeA, int transposeB, int m, int n, int k, const T* alpha, const T* a, int aLeading, long long aStep,
                     const T* b, int bLeading, long long bStep, const T* beta, T* c, int cLeading, long long cStep, int batches);

// cublasGemmStridedBatchedEx; types are those of library_types.h, which CUDA 12 and 13 number alike.
using GemmEx = int (*)(Handle, int transposeA, int transposeB, int m, int n, int k, const void* alpha, const void* a, int aType, int aLeading,
                       long long aStep, const void* b, int bType, int bLeading, long long bStep, const void* beta, void* c, int cType, int cLeading,
                       long long cStep, int batches, int computeType, int algorithm);
constexpr int kReal16F = 2, kReal16BF = 14;  // CUDA_R_16F, CUDA_R_16BF
constexpr int kCompute32F = 68;              // CUBLAS_COMPUTE_32F
constexpr int kDefaultAlgorithm = -1;        // CUBLAS_GEMM_DEFAULT

struct Library {
  int (*create)(Handle*) = nullptr;
  int (*destroy)(Handle) = nullptr;
  int (*setStream)(Handle, cudaStream_t) = nullptr;
  Gemm<float> gemmFloat = nullptr;
  Gemm<double> gemmDouble = nullptr;
  GemmEx gemmEx = nullptr;
  std::string from;  // its name, or why it is not there
  bool found = false;
};

template <class F>
bool find(void* library, const char* name, F& function) {
  function = reinterpret_cast<F>(dlsym(library, name));
  return function != nullptr;
}

Library open() {
  Library found;
  const char* wanted = std::getenv("MD_CUBLAS");
  if (wanted && std::strcmp(wanted, "off") == 0) {
    found.from = "MD_CUBLAS is off";
    return found;
  }
  for (const char* name : {"libcublas.so.13", "libcublas.so.12", "libcublas.so"}) {
    void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!library) continue;
    found.from = name;
    found.found = find(library, "cublasCreate_v2", found.create) && find(library, "cublasDestroy_v2", found.destroy) &&
                  find(library, "cublasSetStream_v2", found.setStream) && find(library, "cublasSgemmStridedBatched", found.gemmFloat) &&
                  find(library, "cublasDgemmStridedBatched", found.gemmDouble) && find(library, "cublasGemmStridedBatchedEx", found.gemmEx);
    if (!found.found) found.from += " lacks a function";
    return found;
  }
  found.from = "no libcublas.so was found";
  return found;
}

const Library& library() {
  static const Library only = open();
  return only;
}

void check(int status, const char* op) {
  if (status != 0) fail(ErrorKind::device, op, "cuBLAS failed with status ", status);
}

template <class T>
int call(Gemm<T> gemm, Handle handle, const CublasProduct& p) {
  const T alpha = static_cast<T>(p.alpha), beta = static_cast<T>(p.beta);
  return gemm(handle, p.transposeA, p.transposeB, p.m, p.n, p.k, &alpha, static_cast<const T*>(p.a), p.aLeading, p.aStep,
              static_cast<const T*>(p.b), p.bLeading, p.bStep, &beta, static_cast<T*>(p.c), p.cLeading, p.cStep, p.batches);
}

int callHalf(DType dtype, Handle handle, const CublasProduct& p) {
  const auto alpha = static_cast<float>(p.alpha), beta = static_cast<float>(p.beta);
  const int type = dtype == DType::f16 ? kReal16F : kReal16BF;
  return library().gemmEx(handle, p.transposeA, p.transposeB, p.m, p.n, p.k, &alpha, p.a, type, p.aLeading, p.aStep, p.b, type, p.bLeading, p.bStep,
                          &beta, p.c, type, p.cLeading, p.cStep, p.batches, kCompute32F, kDefaultAlgorithm);
}

int callFor(DType dtype, Handle handle, const CublasProduct& p) {
  if (isHalf(dtype)) return callHalf(dtype, handle, p);
  return dtype == DType::f32 ? call(library().gemmFloat, handle, p) : call(library().gemmDouble, handle, p);
}

}  // namespace

std::string cublasLibrary() { return library().from; }
bool hasCublas() { return library().found; }

void openCublas(void*& handle, cudaStream_t stream, const char* op) {
  if (handle) return;
  check(library().create(&handle), op);
  check(library().setStream(handle, stream), op);
}

void cublasGemm(const Context& context, DType dtype, const CublasProduct& product, const char* op) {
  useDevice(context, op);
  void*& handle = cublasHandleOf(context);
  openCublas(handle, streamOf(context), op);
  check(callFor(dtype, handle, product), op);
  checkLaunch(context, op);
}

void destroyCublas(void* handle) {
  if (handle) library().destroy(handle);
}

}  // namespace md::cuda

#else

namespace md::cuda {

std::string cublasLibrary() { return "the emulation has none"; }
bool hasCublas() { return false; }
void openCublas(void*&, cudaStream_t, const char*) {}
void cublasGemm(const Context&, DType, const CublasProduct&, const char*) {}
void destroyCublas(void*) {}

}  // namespace md::cuda

#endif
