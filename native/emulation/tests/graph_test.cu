// Memory of a graph where blocks are reused, as on a GPU: under emulation none is, so that every access can be judged.
#include "../../core/cuda/graph.h"
#include "../../tests/check.h"

namespace md::cuda {
namespace {

TEST(aGraphsMemoryIsReusedWithinItAndGivenBackAtItsEnd) {
  Allocator device;
  {
    GraphMemory memory(device, false);
    Allocator& blocks = memory.allocator();
    const Block first = blocks.allocate(1000, "test");
    blocks.release(first, 1000);
    const Block again = blocks.allocate(1000, "test");
    CHECK(again.data == first.data);
    blocks.release(again, 1000);
    blocks.flush();  // as where memory runs out: a replay still writes there
    CHECK(device.stats().liveBytes >= 1000);
    const Block other = blocks.allocate(1000, "test");
    CHECK(other.data != first.data);
    const Block kept = blocks.allocate(5000, "test");
    blocks.release(other, 1000);
    memory.close();
    CHECK(!memory.spent() && device.stats().liveBytes == kept.size);
    blocks.release(kept, 5000);
    // At once, and not with the next capture.
    CHECK(memory.spent() && device.stats().liveBytes == 0);
  }
  CHECK(device.stats().liveBytes == 0);
}

TEST(copiesOfHostMemoryStayApart) {
  Allocator device;
  GraphMemory memory(device, false);
  std::vector<const void*> copies;
  const std::vector<char> large(100 << 10, 'x');
  for (char i = 0; i < 100; i++) {
    const std::vector<char> bytes(1001, i);
    copies.push_back(memory.keep(bytes.data(), bytes.size()));
    if (i % 10 == 0) CHECK(static_cast<const char*>(memory.keep(large.data(), large.size()))[large.size() - 1] == 'x');
  }
  for (char i = 0; i < 100; i++) CHECK(static_cast<const char*>(copies[static_cast<size_t>(i)])[1000] == i);
}

TEST(aGraphsMemoryRunsOutWithTheDevices) {
  Allocator device;
  device.setLimit(1 << 20);
  GraphMemory memory(device, false);
  const Block block = memory.allocator().allocate(700 << 10, "test");
  CHECK(tests::throwsKind(ErrorKind::outOfMemory, [&] { memory.allocator().allocate(700 << 10, "test"); }));
  memory.allocator().release(block, 700 << 10);
}

}  // namespace
}  // namespace md::cuda
