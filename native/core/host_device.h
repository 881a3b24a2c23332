// Functions that CPU and CUDA kernels share carry MD_HOST_DEVICE.
#pragma once

#ifdef __CUDACC__
#define MD_HOST_DEVICE __host__ __device__
#else
#define MD_HOST_DEVICE
#endif
