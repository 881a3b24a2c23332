// One binary, several instruction sets. A kernel file (ops/<op>/cpu.cpp) is compiled once per ISA with MD_ISA set to
// the namespace that its functions live in; MD_KERNEL declares all of them and MD_CALL picks one at run time.
//
// Kernel files must not use std containers or other weak standard-library functions: the linker keeps one copy of
// those, and it could be one compiled for a newer ISA than the machine has.
#pragma once
#include <cstdint>

#if defined(__x86_64__)
#define MD_KERNEL(ret, name, ...)    \
  namespace baseline {               \
  ret name(__VA_ARGS__);             \
  }                                  \
  namespace avx2 {                   \
  ret name(__VA_ARGS__);             \
  }                                  \
  namespace avx512 {                 \
  ret name(__VA_ARGS__);             \
  }
#define MD_CALL(name) \
  (::md::activeIsa() == ::md::Isa::avx512 ? avx512::name : ::md::activeIsa() == ::md::Isa::avx2 ? avx2::name : baseline::name)
#else
#define MD_KERNEL(ret, name, ...) \
  namespace baseline {            \
  ret name(__VA_ARGS__);          \
  }
#define MD_CALL(name) baseline::name
#endif

namespace md {

enum class Isa { baseline, avx2, avx512 };
constexpr Isa kIsas[] = {Isa::baseline, Isa::avx2, Isa::avx512};  // by rising preference

/// Chosen once: MD_ISA=baseline|avx2|avx512 in the environment, else the best that this processor has.
/// Error (unsupported) if MD_ISA names one that is unknown or that the processor lacks.
Isa activeIsa();
/// Whether this processor has it.
bool supports(Isa isa);
const char* isaName(Isa isa);

}  // namespace md
