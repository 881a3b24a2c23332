// Memory of the emulated devices, and what is known about each of its bytes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace md::emulation {

constexpr int kDevices = 2;
constexpr size_t kDeviceBytes = size_t{256} << 20;

/// Who is running. Two accesses are in order if a launch, or a barrier that both threads wait at, lies between them.
struct Now {
  bool running = false;
  int device = 0;
  uint64_t firstBlock = 0, block = 0;  // serial numbers over all launches; firstBlock: of this launch
  unsigned thread = 0;                 // linear, in the block
  unsigned blockEpoch = 0;             // barriers of the block so far
  unsigned warpEpoch = 0;              // of the warp since the last of those
  const char* stack = nullptr;         // of the running fiber
  size_t stackBytes = 0;
};
extern Now now;

/// The calling thread's, as cudaSetDevice() chose it.
int currentDevice();

void* allocate(int device, size_t bytes);  // null where there is no more
/// False for an address that was not allocated, or was freed already.
bool release(void* address);
size_t freeBytes(int device);

/// Whether [address, address + bytes) lies inside one allocation of a device.
bool isDeviceRange(const void* address, size_t bytes);
/// From the host's side, between launches: copies and fills that mark what they write as written.
void copyBytes(void* to, const void* from, size_t bytes);
void fillBytes(void* address, int value, size_t bytes);

/// Device memory can be reached only while kernels and copies run: elsewhere it is no memory of the host.
class Open {
 public:
  Open();
  ~Open();
};

void* allocateShared(size_t bytes);  // null beyond 48 KiB
bool isShared(const void* address);
/// Shared memory that an asynchronous copy is on its way to, which nothing may touch; and its arrival, unwritten yet.
void markInFlight(const void* address, size_t bytes);
void markLanded(const void* address, size_t bytes);
/// Forgets the block's shared arrays and fills their memory with poison.
void resetShared();

enum class Access { read, write, atomic };
/// What is wrong with an access of the running thread; empty if nothing is.
std::string check(const void* address, size_t bytes, Access access);

}  // namespace md::emulation
