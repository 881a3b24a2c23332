// Sum, mean and maximum over segments of rows. Segment s of x [P, …] holds the rows order[offsets[s]] up to
// order[offsets[s + 1] - 1], or without an order those rows themselves. Each segment belongs to one thread and is summed in
// its order.
#pragma once
#include "../../core/context.h"
#include "../../isa/isa.h"

namespace md::segment {

/// offsets [segments + 1] i32, rising from 0 to P; order [P] i32, each row once. ValueError otherwise.
struct Segments {
  Tensor offsets;
  const Tensor* order;  // or null
};

enum class Reduction { sum, mean };

/// x [P, …] -> [segments, …], f32 or f64; 0 for an empty segment. On the CPU x itself where each row is a segment of its own, in
/// their order, and so with the gradient.
Tensor reduce(Context& context, Reduction reduction, const Tensor& x, const Segments& segments, const char* op);

/// grad [segments, …] -> the gradient of x [rows, …]: each row gets its segment's, by a mean divided by the rows there, of a
/// maximum only in the elements of the rows that `chosen` has, else null.
Tensor reduceGrad(Context& context, Reduction reduction, const Tensor& grad, const Tensor* chosen, const Segments& segments, int64_t rows, const char* op);

struct Maximum {
  Tensor values;
  Tensor rows;  // i32, of values' shape: the row of x that each came from
};

/// The first of equals wins, and NaN before all. ValueError for an empty segment.
Maximum max(Context& context, const Tensor& x, const Segments& segments, const char* op);

// Kernels of cpu.cpp, on segments [begin, end) of rows with `inner` elements.
struct Rows {
  DType dtype;
  const int32_t* offsets;
  const int32_t* order;  // or null
  int64_t inner;
};
MD_KERNEL(void, reduceSegments, const Rows& rows, Reduction reduction, int64_t begin, int64_t end, const void* x, void* out)
MD_KERNEL(void, spreadSegments, const Rows& rows, Reduction reduction, int64_t begin, int64_t end, const void* grad, const int32_t* chosen, void* out)
MD_KERNEL(void, maxSegments, const Rows& rows, int64_t begin, int64_t end, const void* x, void* values, int32_t* from)

}  // namespace md::segment
