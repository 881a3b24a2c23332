// One CUDA stream with its memory, and the device's state.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "cublas.h"
#include "graph.h"
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
    case Wrong::pairStarts: bad("the map's starts do not rise from 0 within its ", c.limit, " pairs"); break;
    case Wrong::notFinite: bad(c.expected, " is not finite: nothing was changed"); break;
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

class Queue;

/// A captured graph, instantiated.
class Graph final : public DeviceGraph {
 public:
  Graph(Queue& queue, GraphMemory& memory, cudaGraphExec_t work) : queue_(queue), memory_(memory), work_(work) {}
  ~Graph() override;
  void replay(std::span<const uint64_t> moved, const char* op) override;

 private:
  Queue& queue_;
  GraphMemory& memory_;
  cudaGraphExec_t work_;
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
    abortCapture();
    cudaSetDevice(device_.index);
    cudaStreamSynchronize(stream_);
    destroyCublas(cublas);
    memories_.clear();
    allocator_.release({complaint_, sizeof(Complaint)}, sizeof(Complaint));
    for (int i = 0; i < 2; i++) {
      cudaEventDestroy(staging_.done[i]);
      cudaFreeHost(staging_.buffer[i]);
    }
    cudaStreamDestroy(stream_);
  }

  Allocator& allocator() override { return capturing_ ? capturing_->allocator() : allocator_; }
  Allocator& deviceAllocator() override { return allocator_; }

  void upload(const void* host, void* device, size_t bytes, const char* op) override {
    use(op);
    if (capturing_) {
      // Staging buffers have other contents by the time of a replay.
      const void* kept = capturing_->keep(host, bytes);
      if (!kept) fail(ErrorKind::outOfMemory, op, device_.str(), ": no pinned memory for ", bytes, " bytes of a graph");
      return check(cudaMemcpyAsync(device, kept, bytes, cudaMemcpyHostToDevice, stream_), op);
    }
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
    refuseInCapture("waits for a value of the device", op);
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
    refuseInCapture("waits for the device", op);
    check(cudaStreamSynchronize(stream_), op);
    throwComplaint(op);
  }

  void checkLaunch(const char* op) {
    check(cudaGetLastError(), op);
    if (!synchronous() || capturing_) return;
    check(cudaStreamSynchronize(stream_), op);
    throwComplaint(op);
  }

  void beginCapture(std::span<const uint64_t> keys, const char* op) override {
    use(op);
    refuseInCapture("starts a graph", op);
    if (hasCublas()) openCublas(cublas, stream_, op);  // which allocates
    std::erase_if(memories_, [](const auto& memory) { return memory->spent(); });
    auto memory = std::make_unique<GraphMemory>(allocator_, memory_.checked(), keys);
    // Relaxed: allocating is no work of the stream.
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed), op);
    memories_.push_back(std::move(memory));
    capturing_ = memories_.back().get();
  }

  std::unique_ptr<DeviceGraph> endCapture(const char* op) override {
    use(op);
    if (!capturing_) fail(ErrorKind::unsupported, op, device_.str(), " captures no graph");
    cudaGraph_t captured = nullptr;
    cudaGraphExec_t work = nullptr;
    cudaError_t error = cudaStreamEndCapture(stream_, &captured);
    if (error == cudaSuccess) error = cudaGraphInstantiate(&work, captured, 0);
    if (captured) cudaGraphDestroy(captured);
    if (error != cudaSuccess) {
      const std::string what = cudaGetErrorString(error);
      dropCapture();
      fail(error == cudaErrorMemoryAllocation ? ErrorKind::outOfMemory : ErrorKind::unsupported, op, device_.str(), ": no graph was captured: ", what);
    }
    auto graph = std::make_unique<Graph>(*this, *std::exchange(capturing_, nullptr), work);
    releaseRetired();
    return graph;
  }

  void abortCapture() override {
    if (!capturing_) return;
    cudaSetDevice(device_.index);
    cudaGraph_t captured = nullptr;
    cudaStreamEndCapture(stream_, &captured);
    if (captured) cudaGraphDestroy(captured);
    dropCapture();
  }

  void launchGraph(cudaGraphExec_t work, const GraphMemory& memory, std::span<const uint64_t> moved, const char* op) {
    use(op);
    refuseInCapture("replays a graph", op);
    const size_t streams = memory.keys().size();
    if (moved.size() != streams) fail(ErrorKind::value, op, "found ", moved.size(), " random streams, expected the ", streams, " of the capture");
    if (streams > 0) upload(moved.data(), memory.moved(), moved.size_bytes(), op);
    check(cudaGraphLaunch(work, stream_), op);
    checkLaunch(op);
  }

  void releaseGraph(cudaGraphExec_t work, GraphMemory& memory) {
    // Waiting would end the capture.
    if (capturing_) return retired_.push_back({work, &memory});
    cudaSetDevice(device_.index);
    cudaStreamSynchronize(stream_);
    cudaGraphExecDestroy(work);
    memory.close();
  }

  void* cublas = nullptr;

  cudaStream_t stream() const { return stream_; }
  const uint64_t* moved(uint64_t key, const char* op) const {
    if (!capturing_) return nullptr;
    const std::vector<uint64_t>& keys = capturing_->keys();
    const auto found = std::find(keys.begin(), keys.end(), key);
    if (found != keys.end()) return capturing_->moved() + (found - keys.begin());
    fail(ErrorKind::unsupported, op, "draws random numbers while ", device_.str(), " captures a graph, and replays would repeat them: ",
         "expected their generator among the graph's");
  }
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
    // The stream goes on once the capture has ended.
    if (capturing_) fail(ErrorKind::unsupported, op, device_.str(), " cannot capture this in a graph: ", what);
    // Every later call reports such an error too: nothing on the device can be trusted.
    lost_ = std::string("[") + op + "] " + what;
    fail(ErrorKind::device, op, device_.str(), ": ", what, synchronous() ? "" : " (in this op or one before it: MD_SYNC=1 tells which)");
  }

  void refuseInCapture(const char* what, const char* op) const {
    if (capturing_) fail(ErrorKind::unsupported, op, what, " while ", device_.str(), " captures a graph, expected work that needs no answer");
  }

  void dropCapture() {
    cudaGetLastError();  // why it cannot be captured is no fault of the device
    std::exchange(capturing_, nullptr)->close();
    releaseRetired();
  }

  void releaseRetired() {
    for (const auto& [work, memory] : std::exchange(retired_, {})) releaseGraph(work, *memory);
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
  std::vector<std::unique_ptr<GraphMemory>> memories_;  // of all graphs, and of tensors that outlive theirs
  GraphMemory* capturing_ = nullptr;                    // of the graph that is being captured
  /// Graphs that were given up while another was captured.
  std::vector<std::pair<cudaGraphExec_t, GraphMemory*>> retired_;
};

Graph::~Graph() { queue_.releaseGraph(work_, memory_); }
void Graph::replay(std::span<const uint64_t> moved, const char* op) { queue_.launchGraph(work_, memory_, moved, op); }

namespace {
Queue& queueOf(const Context& context) { return static_cast<Queue&>(*context.stream.queue); }
}  // namespace

cudaStream_t streamOf(const Context& context) { return queueOf(context).stream(); }
void useDevice(const Context& context, const char* op) { queueOf(context).use(op); }
void checkLaunch(const Context& context, const char* op) { queueOf(context).checkLaunch(op); }
void*& cublasHandleOf(const Context& context) { return queueOf(context).cublas; }
const uint64_t* movedOf(const Context& context, uint64_t key, const char* op) { return queueOf(context).moved(key, op); }
Complaint* complaintOf(const Context& context) { return queueOf(context).complaint(); }

DeviceQueue* openQueue(int index, const char* op) { return new Queue(index, op); }

namespace {
std::string versionOf(int code) { return std::to_string(code / 1000) + "." + std::to_string(code % 1000 / 10); }
}  // namespace

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
    if (status.driver == 0) {
      status.reason = "no NVIDIA driver was found";
    } else if (error == cudaErrorInsufficientDriver) {
      status.reason = "the NVIDIA driver is too old: found one for CUDA " + versionOf(status.driver) + ", expected one for CUDA " + versionOf(status.runtime) + " or later";
    } else {
      status.reason = cudaGetErrorString(error);
    }
    cudaGetLastError();
    return status;
  }
  for (int i = 0; i < count; i++) {
    cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, i) != cudaSuccess) continue;
    status.devices.push_back({properties.name, properties.major, properties.minor, properties.totalGlobalMem, properties.major >= 8});
  }
  if (status.devices.empty()) status.reason = "the driver names no device";
  return status;
}

}  // namespace md::cuda
