// What the compiler calls before each access to memory, under the names that -fsanitize=thread gives them.
#include "threads.h"

using md::emulation::Access;
using md::emulation::accessed;

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

#define MD_ACCESS(bytes)                                                                               \
  void __tsan_read##bytes(void* p) { accessed(p, bytes, Access::read); }                               \
  void __tsan_write##bytes(void* p) { accessed(p, bytes, Access::write); }                             \
  void __tsan_unaligned_read##bytes(void* p) { accessed(p, bytes, Access::read); }                     \
  void __tsan_unaligned_write##bytes(void* p) { accessed(p, bytes, Access::write); }                   \
  void __tsan_volatile_read##bytes(void* p) { accessed(p, bytes, Access::read); }                      \
  void __tsan_volatile_write##bytes(void* p) { accessed(p, bytes, Access::write); }

MD_ACCESS(1)
MD_ACCESS(2)
MD_ACCESS(4)
MD_ACCESS(8)
MD_ACCESS(16)

#undef MD_ACCESS

// Of the host's side of the .cu files: flags of local statics, counts of shared pointers.
unsigned char __tsan_atomic8_load(const volatile unsigned char* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
int __tsan_atomic32_fetch_add(volatile int* p, int value, int) { return __atomic_fetch_add(p, value, __ATOMIC_SEQ_CST); }

void __tsan_read_range(void* p, long bytes) { accessed(p, static_cast<unsigned long>(bytes), Access::read); }
void __tsan_write_range(void* p, long bytes) { accessed(p, static_cast<unsigned long>(bytes), Access::write); }
}
