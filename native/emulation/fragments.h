// The matrix instructions of core/cuda/fragments.h: each lane gets the registers that the hardware gives it.
#pragma once
#include <cstdint>

namespace md::emulation {

/// ldmatrix.x4 of the rows that the lanes name, transposed or not. fault() at a row outside of shared memory or not at a
/// multiple of 16 bytes.
void loadMatrices(uint32_t (&x)[4], const void* row, bool transposed);

/// Two mma.m16n8k16, for columns 0-7 and 8-15.
void multiplyAdd(float (&sums)[2][4], const uint32_t (&a)[4], const uint32_t (&b)[4], bool bfloat16);

}  // namespace md::emulation
