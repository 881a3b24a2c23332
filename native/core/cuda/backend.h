// Functions that CUDA files (.cu) define. They are weak: in a build without these files their address is null. Nothing
// calls an op's kernels then, because no tensor can be on such a device.
#pragma once
#include "../device_queue.h"

#define MD_CUDA_FUNCTION __attribute__((weak, visibility("default")))

namespace md::cuda {

MD_CUDA_FUNCTION CudaStatus readStatus();
/// The cuBLAS library that was found, or why there is none.
MD_CUDA_FUNCTION std::string cublasLibrary();
/// Whether CUB was compiled in.
MD_CUDA_FUNCTION bool hasCub();
MD_CUDA_FUNCTION DeviceQueue* openQueue(int index, const char* op);

}  // namespace md::cuda
