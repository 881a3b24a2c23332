// What an op needs besides its operands: where new tensors lie and where kernels run.
#pragma once
#include "allocator.h"
#include "device_queue.h"
#include "tensor.h"
#include "thread_pool.h"

namespace md {

struct Context {
  /// On the CPU `memory` waits for `threads` before it gives blocks back, so these live as long as blocks are in use.
  Context(Allocator& memory, ThreadPool& threads, Stream on = {}) : allocator(&memory), pool(threads), stream(on) {
    if (!onCuda()) memory.waitWith([&threads] { threads.finish(); });
  }

  Allocator* allocator;
  ThreadPool& pool;
  Stream stream;

  bool onCuda() const { return stream.device.type == DeviceType::cuda; }
};

/// A new contiguous tensor with undefined elements. ShapeError on a negative extent or more than 2^40 elements.
Tensor empty(Context& context, DType dtype, const Dims& shape, const char* op);

/// `x` itself where it is contiguous, else a contiguous copy.
Tensor contiguous(Context& context, const Tensor& x, const char* op);

/// Copies any layout of `x` into `out` (same shape, same dtype, contiguous, on the same device).
void copyInto(Context& context, const Tensor& x, void* out, const char* op = "copy");
/// Copies any layout of `x` to host memory, from whatever device it is on; waits for it.
void copyToHost(Context& context, const Tensor& x, void* out, const char* op);
/// Fills a contiguous tensor from host memory, which may change afterwards.
void copyFromHost(Context& context, const void* host, const Tensor& out, const char* op);
/// Returns when `x` has its elements, as it must before they are read on the CPU outside of a region.
void awaitElements(Context& context, const Tensor& x);
/// All bytes of a contiguous tensor to 0.
void clear(Context& context, const Tensor& x, const char* op);

// Checks that name the op and the operand, as every op's first lines.
void requireDType(const Tensor& x, DType dtype, const char* op, const char* operand);
void requireFloat(const Tensor& x, const char* op, const char* operand);
/// f32 or f64, and on a CUDA device also f16 or bf16.
void requireStoredFloat(const Tensor& x, const char* op, const char* operand);
void requireRank(const Tensor& x, int rank, const char* op, const char* operand);
void requireShape(const Tensor& x, const Dims& shape, const char* op, const char* operand);
/// 0 <= axis < rank after resolving a negative axis; ShapeError otherwise.
int resolveAxis(int64_t axis, int rank, const char* op);

}  // namespace md
