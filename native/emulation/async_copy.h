// The copies of core/cuda/async_copy.h. Nothing is copied before the thread waits for it: until then the destination must
// not be touched.
#pragma once
#include <cstddef>

namespace md::emulation {

/// fault() at an address that is no multiple of `size`, or a destination outside of shared memory.
void copyAsync(void* shared, const void* global, size_t bytes, size_t size);
void commitCopies();
void waitForCopies(size_t pending);

}  // namespace md::emulation
