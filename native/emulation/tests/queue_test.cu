// The queue of a device: copies through staging, complaints of kernels, memory, and what is left after a fault.
#include <cstring>
#include <memory>
#include <vector>

#include "../../core/cuda/launch.h"
#include "../../tests/check.h"
#include "../threads.h"

namespace md::cuda {
namespace {

using tests::throwsKind;

struct OnDevice {
  explicit OnDevice(int index) : queue(md::openQueue({DeviceType::cuda, index}, "test")) {}
  std::unique_ptr<DeviceQueue> queue;
  ThreadPool pool{1};
  Context context{queue->allocator(), pool, Stream{{DeviceType::cuda, 0}, queue.get()}};
};

__global__ void complainOf(int64_t n, Complaint* complaint, const char* op) {
  gridStride(n, [&](int64_t i) {
    if (i == 3) complain(complaint, op, Wrong::index, i, 9, 5);
  });
}
__global__ void writeTo(int* at) { *at = 1; }

template <class F>
std::string messageOf(F&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(copiesPassThroughStagingInParts) {
  OnDevice device(0);
  const size_t bytes = (size_t{9} << 20) + 5;
  std::vector<unsigned char> from(bytes), back(bytes);
  for (size_t i = 0; i < bytes; i++) from[i] = static_cast<unsigned char>(i * 7 + i / 251);
  const Tensor x = empty(device.context, DType::u8, {static_cast<int64_t>(bytes)}, "test");
  device.queue->upload(from.data(), x.raw(), bytes, "test");
  device.queue->download(x.raw(), back.data(), bytes, "test");
  CHECK(from == back);
  CHECK(device.queue->allocator().stats().liveBytes >= bytes);
}

TEST(aComplaintOfAKernelReachesWhoeverWaits) {
  OnDevice device(0);
  launch(device.context, "someOp", complainOf, 1, kThreads, int64_t{100}, complaintOf(device.context), "someOp");
  CHECK(messageOf([&] { device.queue->synchronize("wait"); }) == "[someOp] index element 3 is 9, expected 0 to 4");
  CHECK(messageOf([&] { device.queue->synchronize("wait"); }) == "");
}

TEST(memoryRunsOutAsATypedError) {
  OnDevice device(0);
  CHECK(throwsKind(ErrorKind::outOfMemory, [&] { empty(device.context, DType::u8, {int64_t{1} << 34}, "test"); }));
  std::vector<Tensor> held;
  const auto fill = [&] {
    for (;;) held.push_back(empty(device.context, DType::u8, {50 << 20}, "test"));
  };
  CHECK(throwsKind(ErrorKind::outOfMemory, fill));
  held.clear();
  empty(device.context, DType::u8, {50 << 20}, "test");
}

__global__ void count(int* at) {
  if (threadIdx.x == 0) ++*at;
}

TEST(aGraphMayEndWhileAnotherIsCaptured) {
  OnDevice device(0);
  DeviceQueue& queue = *device.queue;
  const size_t before = queue.deviceAllocator().stats().liveBytes;
  const auto capture = [&](std::unique_ptr<DeviceGraph> ending) {
    queue.beginCapture({}, "capture");
    CHECK(&queue.allocator() != &queue.deviceAllocator());
    Context captured{queue.allocator(), device.pool, device.context.stream};
    const Tensor own = empty(captured, DType::i32, {1000}, "test");
    clear(captured, own, "test");
    ending.reset();
    launch(captured, "count", count, 1, kWarp, own.data<int>());
    return queue.endCapture("capture");
  };
  std::unique_ptr<DeviceGraph> graph = capture(nullptr);
  graph->replay({}, "replay");
  graph = capture(std::move(graph));
  graph->replay({}, "replay");
  queue.synchronize("wait");
  CHECK(queue.deviceAllocator().stats().liveBytes == before + 4000);
  queue.beginCapture({}, "capture");
  graph.reset();
  queue.abortCapture();
  CHECK(queue.deviceAllocator().stats().liveBytes == before);
}

TEST(anIndexWithoutADeviceIsATypedError) {
  CHECK(messageOf([] { md::openQueue({DeviceType::cuda, 7}, "test"); }) == "[test] found cuda:7, expected cuda:0 to cuda:1");
}

TEST(aFaultEndsTheDeviceButNotTheProcess) {
  OnDevice device(0);
  int host = 0;
  const auto fault = [&] { launch(device.context, "bad", writeTo, 1, kWarp, &host); };
  CHECK(throwsKind(ErrorKind::device, fault));
  const std::string later = messageOf([&] { device.queue->synchronize("later"); });
  CHECK(later.find("[later] cuda:0 was lost: [bad] ") == 0);
  Allocator allocator;
  Context cpu{allocator, device.pool};
  CHECK(empty(cpu, DType::f32, {4}, "test").numel() == 4);
  emulation::forgetFault();
}

}  // namespace
}  // namespace md::cuda
