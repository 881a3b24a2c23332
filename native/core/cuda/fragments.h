// Matrix units: products of 16x16 fragments of f16 or bf16, summed in f32 (mma.sync m16n8k16, ldmatrix: compute capability
// 8.0 and later). All 32 lanes of a warp take part in each call. Which lane holds what is the PTX ISA's ("Warp-level matrix
// instructions"): with group = lane / 4 and pair = lane % 4 * 2, every register has the elements (row, pair) and
// (row, pair + 1), or (pair, column) and (pair + 1, column) of B.
#pragma once
#include "launch.h"

#ifndef __CUDACC__
#include "../../emulation/fragments.h"
#endif

namespace md::cuda {

/// Whether the device has the instructions below.
inline bool hasMatrixUnits(const Context& context) {
  return cudaStatus().devices[static_cast<size_t>(context.stream.device.index)].matrixUnits;
}

/// Calls f(std::type_identity<S>{}) for f16, else for bf16.
template <class F>
void dispatchHalf(DType dtype, F&& f) {
  if (dtype == DType::f16) return f(std::type_identity<Half>{});
  f(std::type_identity<BFloat16>{});
}

constexpr int kFragment = 16;  // rows, columns and depth

/// [16 rows, 16 deep]: rows group and group + 8 of depths pair, then of depths pair + 8.
template <class S>
struct FragmentA {
  uint32_t x[4];
};
/// [16 deep, 16 columns]: depths pair and pair + 8 of column group, then of column group + 8.
template <class S>
struct FragmentB {
  uint32_t x[4];
};
/// [16 rows, 16 columns] of sums: x[h] has columns 8 h + pair, + 1 of row group, then of row group + 8.
struct Accumulator {
  float x[2][4];

  /// The place of x[half][i] in the 16x16.
  __device__ static int row(int i) { return static_cast<int>(threadIdx.x % kWarp) / 4 + (i / 2) * 8; }
  __device__ static int column(int half, int i) { return half * 8 + static_cast<int>(threadIdx.x % 4) * 2 + i % 2; }
};

/// Two numbers rounded to S, the first in the low half.
template <class S>
__device__ inline uint32_t packed(float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  uint32_t both;
  if constexpr (std::is_same_v<S, Half>) {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  } else {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  }
  return both;
#else
  return static_cast<uint32_t>(S(high).bits) << 16 | S(low).bits;
#endif
}

/// The first (i = 0) or second of two packed numbers.
template <class S>
__device__ inline float unpacked(uint32_t both, int i) {
  S stored;
  stored.bits = static_cast<uint16_t>(both >> 16 * i);
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  if constexpr (std::is_same_v<S, Half>) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(stored.bits));
    return value;
  }
#endif
  return static_cast<float>(stored);
}

/// Four 8x8 matrices from shared memory: lane i gives the address of row i % 8 of matrix i / 8, 16 bytes at a multiple of
/// 16. Register m gets elements pair and pair + 1 of row group of matrix m, or of its transpose.
template <bool Transposed>
__device__ inline void loadMatrices(uint32_t (&x)[4], const void* row) {
#ifdef __CUDACC__
#if __CUDA_ARCH__ >= 800
  const auto at = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  if constexpr (Transposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(at)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(at)
                 : "memory");
  }
#else
  __trap();
#endif
#else
  emulation::loadMatrices(x, row, Transposed);
#endif
}

/// The row of a 16x16 tile, `pitch` elements from row to row, that this lane gives to loadMatrices: matrices in the order
/// upper left, lower left, upper right, lower right (DownFirst), or upper left, upper right, lower left, lower right.
template <bool DownFirst, class S>
__device__ const S* matrixRow(const S* tile, int pitch) {
  const int lane = static_cast<int>(threadIdx.x % kWarp), first = lane / 8 % 2 * 8, second = lane / 16 * 8;
  return tile + (lane % 8 + (DownFirst ? first : second)) * pitch + (DownFirst ? second : first);
}

/// From a tile in shared memory that holds [row][depth], or with Transposed [depth][row].
template <bool Transposed, class S>
__device__ void load(FragmentA<S>& a, const S* tile, int pitch) {
  loadMatrices<Transposed>(a.x, matrixRow<!Transposed>(tile, pitch));
}
/// From a tile that holds [column][depth], or with Transposed [depth][column].
template <bool Transposed, class S>
__device__ void load(FragmentB<S>& b, const S* tile, int pitch) {
  loadMatrices<Transposed>(b.x, matrixRow<Transposed>(tile, pitch));
}

/// sums += a b
template <class S>
__device__ inline void multiplyAdd(Accumulator& sums, const FragmentA<S>& a, const FragmentB<S>& b) {
#ifdef __CUDACC__
#if __CUDA_ARCH__ >= 800
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float(&c)[4] = sums.x[half];
    if constexpr (std::is_same_v<S, Half>) {
      asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                   : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                   : "r"(a.x[0]), "r"(a.x[1]), "r"(a.x[2]), "r"(a.x[3]), "r"(b.x[2 * half]), "r"(b.x[2 * half + 1]));
    } else {
      asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                   : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                   : "r"(a.x[0]), "r"(a.x[1]), "r"(a.x[2]), "r"(a.x[3]), "r"(b.x[2 * half]), "r"(b.x[2 * half + 1]));
    }
  }
#else
  __trap();
#endif
#else
  emulation::multiplyAdd(sums.x, a.x, b.x, std::is_same_v<S, BFloat16>);
#endif
}

/// Sums rounded to S, as the left operand of another product: what a lane holds of both is the same.
template <class S>
__device__ FragmentA<S> rounded(const Accumulator& sums) {
  return {{packed<S>(sums.x[0][0], sums.x[0][1]), packed<S>(sums.x[0][2], sums.x[0][3]), packed<S>(sums.x[1][0], sums.x[1][1]),
           packed<S>(sums.x[1][2], sums.x[1][3])}};
}

}  // namespace md::cuda
