// Random numbers from Philox counters: element i of a call is a plain function of (key, counter + i / perBlock), so the
// bits depend neither on the number of threads nor on the ISA (these kernels are compiled without contraction to FMA).
#pragma once
#include "../../core/context.h"
#include "../../isa/isa.h"

namespace md::random {

/// Where a stream stands: `key` is the generator's seed, `counter` the number of Philox blocks it has used.
struct Stream {
  uint64_t key;
  uint64_t counter;
};

/// [low, high); f32 takes 24 random bits an element and 4 elements a block, f64 53 bits and 2 elements.
Tensor uniform(Context& context, DType dtype, const Dims& shape, double low, double high, Stream stream, const char* op);

/// Normal with the given mean and standard deviation, by Box and Muller (1958); 4 elements a block for f32, 2 for f64.
Tensor normal(Context& context, DType dtype, const Dims& shape, double mean, double std, Stream stream, const char* op);

/// i64 in [low, high), 2 elements a block. ValueError unless low < high.
Tensor randint(Context& context, const Dims& shape, int64_t low, int64_t high, Stream stream, const char* op);

/// bool, true with the given probability; 4 elements a block.
Tensor bernoulli(Context& context, const Dims& shape, double probability, Stream stream, const char* op);

/// x where a bernoulli(1 - p) of the same stream is true, divided by 1 - p; 0 elsewhere. Its own derivative.
Tensor dropout(Context& context, const Tensor& x, double p, Stream stream, const char* op);

/// 53 bits of key for the child number `index` of a generator: independent of what the parent draws.
uint64_t childKey(uint64_t key, uint64_t index);

// Kernels of cpu.cpp: elements [begin, end) of a call, begin a multiple of 4.
MD_KERNEL(void, uniformRange, DType dtype, Stream stream, int64_t begin, int64_t end, double low, double high, void* out)
MD_KERNEL(void, normalRange, DType dtype, Stream stream, int64_t begin, int64_t end, double mean, double std, void* out)
MD_KERNEL(void, randintRange, Stream stream, int64_t begin, int64_t end, int64_t low, uint64_t count, int64_t* out)
MD_KERNEL(void, bernoulliRange, Stream stream, int64_t begin, int64_t end, uint64_t threshold, uint8_t* out)
MD_KERNEL(void, dropoutRange, DType dtype, Stream stream, int64_t begin, int64_t end, uint64_t threshold, double scale, const void* x, void* out)

}  // namespace md::random
