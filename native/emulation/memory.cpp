#include "memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <new>

// Of the linked binary that this file ends up in.
extern "C" __attribute__((visibility("hidden"))) const char __ehdr_start;
extern "C" __attribute__((visibility("hidden"))) const char _end;

namespace md::emulation {

Now now;

namespace {

constexpr size_t kGuard = 256;  // bytes between allocations, so that going past the end meets none
constexpr size_t kSharedBytes = 48 << 10;
constexpr size_t kSharedRoom = 4 * kSharedBytes;  // with guards
constexpr int kPoison = 0xCB;

// A record says who touched a byte last and when; these are no accesses.
constexpr uint64_t kNoMemory = 0, kUnwritten = 1, kHost = 2, kInFlight = 3;

struct Byte {
  uint64_t write;       // record of the last write, or one of the above
  uint64_t read[2];     // of the last reads since then that are not in order with each other
};

uint64_t recordOf(bool atomic) {
  return (now.block & 0xFFFFFFF) << 36 | uint64_t{now.thread & 0x3FF} << 26 | uint64_t{now.blockEpoch & 0xFFF} << 14 |
         uint64_t{now.warpEpoch & 0x1FFF} << 1 | uint64_t{atomic};
}
struct Record {
  uint64_t bits;
  uint64_t block() const { return bits >> 36; }
  unsigned thread() const { return bits >> 26 & 0x3FF; }
  unsigned blockEpoch() const { return bits >> 14 & 0xFFF; }
  unsigned warpEpoch() const { return bits >> 1 & 0x1FFF; }
  bool atomic() const { return bits & 1; }
};

// Whether the running thread comes after the one of the record, whatever the schedule.
bool inOrder(uint64_t bits) {
  const Record r{bits};
  if (bits <= kInFlight || r.block() < (now.firstBlock & 0xFFFFFFF)) return true;
  if (r.block() != (now.block & 0xFFFFFFF)) return false;
  if (r.thread() == now.thread || r.blockEpoch() != (now.blockEpoch & 0xFFF)) return true;
  return r.thread() / 32 == now.thread / 32 && r.warpEpoch() != (now.warpEpoch & 0x1FFF);
}

// Address space, without memory until it is touched.
char* reserve(size_t bytes, int protection) {
  void* p = mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  return static_cast<char*>(p);
}

struct Region {
  char* base;
  size_t size;
  Byte* bytes;

  Region(size_t length, int protection)
      : base(reserve(length, protection)), size(length), bytes(reinterpret_cast<Byte*>(reserve(length * sizeof(Byte), PROT_READ | PROT_WRITE))) {}
  bool holds(const void* p) const { return static_cast<const char*>(p) >= base && static_cast<const char*>(p) < base + size; }
  Byte* at(const void* p) const { return bytes + (static_cast<const char*>(p) - base); }
  void mark(const void* p, size_t count, uint64_t write) const { std::fill_n(at(p), count, Byte{write, {kNoMemory, kNoMemory}}); }
};

struct DeviceMemory {
  Region region{kDeviceBytes, PROT_NONE};
  std::map<size_t, size_t> live;  // offset to bytes
  size_t liveBytes = 0;
  size_t high = 0;  // end of what was ever used
};

DeviceMemory& device(int index) {
  static DeviceMemory devices[kDevices];
  return devices[index];
}
Region& shared() {
  static Region region(kSharedRoom, PROT_READ | PROT_WRITE);
  return region;
}
size_t sharedUsed = 0, sharedBytes = 0;
int opened = 0;

size_t roundUp(size_t n, size_t to) { return (n + to - 1) / to * to; }

DeviceMemory* ownerOf(const void* p) {
  for (int i = 0; i < kDevices; i++)
    if (device(i).region.holds(p)) return &device(i);
  return nullptr;
}

std::string describe(const DeviceMemory& memory, size_t offset) {
  auto after = memory.live.upper_bound(offset);
  if (after == memory.live.begin()) return "outside of every allocation";
  const auto& [start, bytes] = *--after;
  if (offset < start + bytes) return "inside an allocation of " + std::to_string(bytes) + " bytes";
  return std::to_string(offset - start - bytes) + " bytes past the end of an allocation of " + std::to_string(bytes) + " bytes";
}

std::string other(uint64_t bits) {
  const Record r{bits};
  return "thread " + std::to_string(r.thread()) + (r.block() == (now.block & 0xFFFFFFF) ? " of the same block" : " of another block");
}

}  // namespace

void* allocate(int index, size_t bytes) {
  DeviceMemory& memory = device(index);
  const size_t room = roundUp(std::max<size_t>(bytes, 1), 256) + kGuard;
  // The first gap that is long enough; the walk starts at the second place, so that no allocation begins the region.
  size_t at = kGuard;
  for (const auto& [start, length] : memory.live) {
    if (at + room <= start) break;
    at = start + roundUp(std::max<size_t>(length, 1), 256) + kGuard;
  }
  if (at + room > kDeviceBytes) return nullptr;
  memory.live[at] = bytes;
  memory.liveBytes += bytes;
  memory.high = std::max(memory.high, at + room);
  char* p = memory.region.base + at;
  memory.region.mark(p, bytes, kUnwritten);
  Open open;
  std::memset(p, kPoison, bytes);
  return p;
}

bool release(void* address) {
  DeviceMemory* memory = ownerOf(address);
  if (!memory) return false;
  const auto found = memory->live.find(static_cast<size_t>(static_cast<char*>(address) - memory->region.base));
  if (found == memory->live.end()) return false;
  memory->region.mark(address, found->second, kNoMemory);
  memory->liveBytes -= found->second;
  memory->live.erase(found);
  return true;
}

size_t freeBytes(int index) { return kDeviceBytes - device(index).liveBytes; }

bool isDeviceRange(const void* address, size_t bytes) {
  const DeviceMemory* memory = ownerOf(address);
  if (!memory) return false;
  const size_t offset = static_cast<size_t>(static_cast<const char*>(address) - memory->region.base);
  auto after = memory->live.upper_bound(offset);
  if (after == memory->live.begin()) return false;
  --after;
  return offset + bytes <= after->first + after->second;
}

void copyBytes(void* to, const void* from, size_t bytes) {
  Open open;
  std::memcpy(to, from, bytes);
  if (const DeviceMemory* memory = ownerOf(to)) memory->region.mark(to, bytes, kHost);
}

void fillBytes(void* address, int value, size_t bytes) {
  Open open;
  std::memset(address, value, bytes);
  if (const DeviceMemory* memory = ownerOf(address)) memory->region.mark(address, bytes, kHost);
}

Open::Open() {
  if (opened++ > 0) return;
  for (int i = 0; i < kDevices; i++) mprotect(device(i).region.base, device(i).high, PROT_READ | PROT_WRITE);
}
Open::~Open() {
  if (--opened > 0) return;
  for (int i = 0; i < kDevices; i++) mprotect(device(i).region.base, device(i).high, PROT_NONE);
}

void* allocateShared(size_t bytes) {
  sharedBytes += bytes;
  if (sharedBytes > kSharedBytes || sharedUsed + bytes + 2 * kGuard > kSharedRoom) return nullptr;
  char* p = shared().base + sharedUsed + kGuard;
  sharedUsed = roundUp(sharedUsed + kGuard + bytes, 64);
  shared().mark(p, bytes, kUnwritten);
  std::memset(p, kPoison, bytes);
  return p;
}

bool isShared(const void* address) { return shared().holds(address); }
void markInFlight(const void* address, size_t bytes) { shared().mark(address, bytes, kInFlight); }
void markLanded(const void* address, size_t bytes) { shared().mark(address, bytes, kUnwritten); }

void resetShared() {
  shared().mark(shared().base, sharedUsed, kNoMemory);
  sharedUsed = sharedBytes = 0;
}

std::string check(const void* address, size_t bytes, Access access) {
  const char* verb = access == Access::read ? "reads " : "writes ";
  const auto what = [&] { return verb + std::to_string(bytes) + " bytes "; };
  const Region* region = nullptr;
  DeviceMemory* memory = nullptr;
  if (shared().holds(address)) {
    region = &shared();
  } else if ((memory = ownerOf(address))) {
    region = &memory->region;
    if (memory != &device(now.device)) return what() + "of another device's memory";
  } else {
    const char* p = static_cast<const char*>(address);
    const bool own = p >= now.stack && p < now.stack + now.stackBytes;
    const bool constant = p >= &__ehdr_start && p < &_end;
    return own || constant ? "" : what() + "that are neither the device's nor the thread's own (memory of the host?)";
  }
  const bool atomic = access == Access::atomic;
  const uint64_t current = recordOf(atomic);
  for (size_t i = 0; i < bytes; i++) {
    Byte& byte = region->at(address)[i];
    const auto bothAtomic = [&](uint64_t record) { return atomic && Record{record}.atomic(); };
    if (byte.write == kNoMemory) {
      if (!memory) return what() + "outside of every shared array";
      return what() + describe(*memory, static_cast<size_t>(static_cast<const char*>(address) + i - region->base));
    }
    if (byte.write == kInFlight) return what() + "that an asynchronous copy has yet to fill";
    if (byte.write == kUnwritten && access != Access::write) return "reads " + std::to_string(bytes) + " bytes that nothing has written";
    if (!inOrder(byte.write) && !bothAtomic(byte.write)) return "race: " + what() + "that " + other(byte.write) + " writes";
    if (access == Access::read) {
      const int place = inOrder(byte.read[0]) ? 0 : 1;
      byte.read[place] = current;
      continue;
    }
    for (const uint64_t reader : byte.read) {
      if (!inOrder(reader) && !bothAtomic(reader)) return "race: " + what() + "that " + other(reader) + " reads";
    }
    byte.write = current;
    byte.read[0] = byte.read[1] = kNoMemory;
  }
  return "";
}

}  // namespace md::emulation
