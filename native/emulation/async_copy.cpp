#include "async_copy.h"

#include <cstring>
#include <deque>
#include <vector>

#include "threads.h"

namespace md::emulation {
namespace {

struct Copy {
  void* to;
  const void* from;
  size_t bytes, size;
};
/// What one thread has under way: committed groups, oldest first, and the copies since.
struct Copies {
  uint64_t block = 0;
  std::deque<std::vector<Copy>> groups;
  std::vector<Copy> open;
};

Copies& ownCopies() {
  static std::vector<Copies> all(1024);
  Copies& own = all[now.thread];
  if (own.block != now.block) own = {now.block, {}, {}};
  return own;
}

}  // namespace

void copyAsync(void* shared, const void* global, size_t bytes, size_t size) {
  if (!isShared(shared)) fault("copies asynchronously to memory that is not shared");
  if (reinterpret_cast<uintptr_t>(shared) % size != 0 || (bytes > 0 && reinterpret_cast<uintptr_t>(global) % size != 0)) {
    fault("copies asynchronously between addresses that are not multiples of " + std::to_string(size));
  }
  if (bytes > size) fault("copies " + std::to_string(bytes) + " bytes asynchronously, expected at most " + std::to_string(size));
  accessed(shared, size, Access::write);  // it may happen at once
  const Pause pause;
  markInFlight(shared, size);
  ownCopies().open.push_back({shared, global, bytes, size});
}

void commitCopies() {
  const Pause pause;
  Copies& own = ownCopies();
  own.groups.push_back(std::move(own.open));
  own.open.clear();
}

void waitForCopies(size_t pending) {
  std::vector<Copy> landing;
  {
    const Pause pause;
    Copies& own = ownCopies();
    for (; own.groups.size() > pending; own.groups.pop_front()) landing.insert(landing.end(), own.groups.front().begin(), own.groups.front().end());
  }
  for (const Copy& copy : landing) {
    accessed(copy.from, copy.bytes, Access::read);
    markLanded(copy.to, copy.size);
    accessed(copy.to, copy.size, Access::write);
    std::memcpy(copy.to, copy.from, copy.bytes);
    std::memset(static_cast<char*>(copy.to) + copy.bytes, 0, copy.size - copy.bytes);
  }
}

}  // namespace md::emulation
