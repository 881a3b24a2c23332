#include "isa.h"

#include <cstdlib>
#include <string>

#include "../core/error.h"

namespace md {
namespace {

Isa choose() {
  const char* wanted = std::getenv("MD_ISA");
  Isa best = Isa::baseline;
  std::string known;
  for (Isa isa : kIsas) {
    if (!supports(isa)) continue;
    best = isa;
    if (wanted && std::string(wanted) == isaName(isa)) return isa;
    known += (known.empty() ? "'" : ", '") + std::string(isaName(isa)) + "'";
  }
  if (wanted && *wanted) fail(ErrorKind::unsupported, "MD_ISA", "found '", wanted, "', expected one of ", known);
  return best;
}

}  // namespace

Isa activeIsa() {
  static const Isa isa = choose();
  return isa;
}

bool supports([[maybe_unused]] Isa isa) {
  if (isa == Isa::baseline) return true;
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (isa == Isa::avx2) return avx2;
  return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

const char* isaName(Isa isa) { return isa == Isa::avx512 ? "avx512" : isa == Isa::avx2 ? "avx2" : "baseline"; }

}  // namespace md
