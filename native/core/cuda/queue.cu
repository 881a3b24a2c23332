// One CUDA stream with its memory, and the device's state.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "cublas.h"
#include "launch.h"

namespace md::cuda {
namespace {

constexpr size_t kStagingBytes = size_t{4} << 20;

bool synchronous() {
  static const bool wanted = [] {
    const char* value = std::getenv("MD_SYNC");
    return value && std::strcmp(value, "1") == 0;
  }();
  return wanted;
}

[[noreturn]] void failComplaint(const Complaint& c) {
  const auto bad = [&](const auto&... parts) { fail(ErrorKind::value, c.op, parts...); };
  switch (c.wrong) {
    case Wrong::notAnInteger: bad("element ", c.element, " is not finite or does not fit the integers it is cast to"); break;
    case Wrong::row: bad("row ", c.element, " is out of range, expected ", c.expected); break;
    case Wrong::offsets: bad("offsets does not rise from 0 to the ", c.limit, " rows"); break;
    case Wrong::order: bad("order[", c.element, "] is ", c.value, ", expected each row from 0 to ", c.limit - 1, " once"); break;
    case Wrong::emptySegment: bad("segment ", c.element, " is empty, expected at least one row"); break;
    case Wrong::pairStarts: bad("the map's starts do not rise from 0 to its ", c.limit, " pairs"); break;
    case Wrong::pair: bad("the map's pair ", c.element, " is outside of its block or of the inputs and outputs"); break;
    default: break;
  }
  fail(ErrorKind::value, c.op, "index element ", c.element, " is ", c.value, ", expected 0 to ", c.limit - 1);
}

}  // namespace

/// The device's memory as blocks.
class DeviceMemory final : public BlockSource {
 public:
  explicit DeviceMemory(int index) : index_(index) {}
  void* allocate(size_t bytes) override {
    void* data = nullptr;
    cudaSetDevice(index_);
    if (cudaMalloc(&data, bytes) == cudaSuccess) return data;
    cudaGetLastError();  // having no more memory is no fault of the device
    return nullptr;
  }
  void release(void* data) override {
    cudaSetDevice(index_);
    cudaFree(data);  // waits for kernels that may still use it
  }
  size_t capacity() const override {
    size_t free = 0, total = 0;
    cudaSetDevice(index_);
    cudaMemGetInfo(&free, &total);
    return total;
  }
#ifdef __CUDACC__
  bool checked() const override { return false; }
#else
  bool checked() const override { return true; }
#endif

 private:
  int index_;
};

/// Two pinned buffers that take turns; an event says when the device has read or written one.
struct Staging {
  void* buffer[2] = {};
  cudaEvent_t done[2] = {};
  int next = 0;
};

class Queue final : public DeviceQueue {
 public:
  Queue(int index, const char* op) : device_{DeviceType::cuda, index}, memory_(index), allocator_(memory_) {
    check(cudaSetDevice(index), op);
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), op);
    for (int i = 0; i < 2; i++) {
      check(cudaHostAlloc(&staging_.buffer[i], kStagingBytes, cudaHostAllocDefault), op);
      check(cudaEventCreateWithFlags(&staging_.done[i], cudaEventDisableTiming), op);
    }
    complaint_ = static_cast<Complaint*>(allocator_.allocate(sizeof(Complaint), op).data);
    check(cudaMemsetAsync(complaint_, 0, sizeof(Complaint), stream_), op);
  }

  ~Queue() override {
    cudaSetDevice(device_.index);
    cudaStreamSynchronize(stream_);
    destroyCublas(cublas);
    allocator_.release({complaint_, sizeof(Complaint)}, sizeof(Complaint));
    for (int i = 0; i < 2; i++) {
      cudaEventDestroy(staging_.done[i]);
      cudaFreeHost(staging_.buffer[i]);
    }
    cudaStreamDestroy(stream_);
  }

  Allocator& allocator() override { return allocator_; }

  void upload(const void* host, void* device, size_t bytes, const char* op) override {
    use(op);
    const auto* from = static_cast<const char*>(host);
    auto* to = static_cast<char*>(device);
    for (size_t at = 0; at < bytes; at += kStagingBytes) {
      const size_t part = std::min(kStagingBytes, bytes - at);
      const int i = turn(op);
      std::memcpy(staging_.buffer[i], from + at, part);
      check(cudaMemcpyAsync(to + at, staging_.buffer[i], part, cudaMemcpyHostToDevice, stream_), op);
      check(cudaEventRecord(staging_.done[i], stream_), op);
    }
  }

  void download(const void* device, void* host, size_t bytes, const char* op) override {
    use(op);
    const auto* from = static_cast<const char*>(device);
    auto* to = static_cast<char*>(host);
    // One part is on its way while the host takes the one before it.
    size_t pending = 0, pendingAt = 0;
    int pendingBuffer = 0;
    const auto take = [&] {
      if (pending == 0) return;
      check(cudaEventSynchronize(staging_.done[pendingBuffer]), op);
      std::memcpy(to + pendingAt, staging_.buffer[pendingBuffer], pending);
    };
    for (size_t at = 0; at < bytes; at += kStagingBytes) {
      const size_t part = std::min(kStagingBytes, bytes - at);
      const int i = turn(op);
      check(cudaMemcpyAsync(staging_.buffer[i], from + at, part, cudaMemcpyDeviceToHost, stream_), op);
      check(cudaEventRecord(staging_.done[i], stream_), op);
      take();
      pending = part;
      pendingAt = at;
      pendingBuffer = i;
    }
    take();
    throwComplaint(op);
  }

  void copy(const void* from, void* to, size_t bytes, const char* op) override {
    use(op);
    if (bytes > 0) check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_), op);
  }

  void clear(void* device, size_t bytes, const char* op) override {
    use(op);
    if (bytes > 0) check(cudaMemsetAsync(device, 0, bytes, stream_), op);
  }

  void synchronize(const char* op) override {
    use(op);
    check(cudaStreamSynchronize(stream_), op);
    throwComplaint(op);
  }

  void checkLaunch(const char* op) {
    check(cudaGetLastError(), op);
    if (!synchronous()) return;
    check(cudaStreamSynchronize(stream_), op);
    throwComplaint(op);
  }

  void* cublas = nullptr;

  cudaStream_t stream() const { return stream_; }
  Complaint* complaint() const { return complaint_; }
  /// Before any work: the device's turn, unless a fault has ended it.
  void use(const char* op) {
    if (!lost_.empty()) {
      fail(ErrorKind::device, op, device_.str(), " was lost: ", lost_, "; its tensors are gone, expected a new process");
    }
    check(cudaSetDevice(device_.index), op);
  }

 private:
  void check(cudaError_t error, const char* op) {
    if (error == cudaSuccess) return;
    const std::string what = cudaGetErrorString(error);
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      fail(ErrorKind::outOfMemory, op, device_.str(), ": ", what);
    }
    // Every later call reports such an error too: nothing on the device can be trusted.
    lost_ = std::string("[") + op + "] " + what;
    fail(ErrorKind::device, op, device_.str(), ": ", what, synchronous() ? "" : " (in this op or one before it: MD_SYNC=1 tells which)");
  }

  /// The staging buffer to use next, free of what it was used for before.
  int turn(const char* op) {
    const int i = staging_.next;
    staging_.next = 1 - i;
    check(cudaEventSynchronize(staging_.done[i]), op);
    return i;
  }

  void throwComplaint(const char* op) {
    Complaint found;
    check(cudaMemcpyAsync(staging_.buffer[0], complaint_, sizeof(found), cudaMemcpyDeviceToHost, stream_), op);
    check(cudaStreamSynchronize(stream_), op);
    std::memcpy(&found, staging_.buffer[0], sizeof(found));
    if (!found.op) return;
    check(cudaMemsetAsync(complaint_, 0, sizeof(found), stream_), op);
    failComplaint(found);
  }

  Device device_;
  DeviceMemory memory_;
  Allocator allocator_;
  cudaStream_t stream_ = nullptr;
  Staging staging_;
  Complaint* complaint_ = nullptr;
  std::string lost_;
};

namespace {
Queue& queueOf(const Context& context) { return static_cast<Queue&>(*context.stream.queue); }
}  // namespace

cudaStream_t streamOf(const Context& context) { return queueOf(context).stream(); }
void useDevice(const Context& context, const char* op) { queueOf(context).use(op); }
void checkLaunch(const Context& context, const char* op) { queueOf(context).checkLaunch(op); }
void*& cublasHandleOf(const Context& context) { return queueOf(context).cublas; }
Complaint* complaintOf(const Context& context) { return queueOf(context).complaint(); }

DeviceQueue* openQueue(int index, const char* op) { return new Queue(index, op); }

CudaStatus readStatus() {
  CudaStatus status;
  status.compiled = true;
#ifdef __CUDACC__
  status.architectures = MD_CUDA_ARCHITECTURES;
#else
  status.emulated = true;
  status.architectures = "emulation";
#endif
  cudaDriverGetVersion(&status.driver);
  cudaRuntimeGetVersion(&status.runtime);
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) {
    status.reason = status.driver == 0 && !status.emulated ? "no NVIDIA driver was found" : cudaGetErrorString(error);
    cudaGetLastError();
    return status;
  }
  for (int i = 0; i < count; i++) {
    cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, i) != cudaSuccess) continue;
    status.devices.push_back({properties.name, properties.major, properties.minor, properties.totalGlobalMem});
  }
  if (status.devices.empty()) status.reason = "the driver names no device";
  return status;
}

}  // namespace md::cuda
