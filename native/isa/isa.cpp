#include "isa.h"

#include <cstdlib>
#include <string>

#include "../core/error.h"

namespace md {
namespace {

bool supportsAvx2() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

Isa choose() {
  const char* wanted = std::getenv("MD_ISA");
  if (!wanted || !*wanted) return supportsAvx2() ? Isa::avx2 : Isa::baseline;
  const std::string name = wanted;
  if (name == "baseline") return Isa::baseline;
  if (name == "avx2" && supportsAvx2()) return Isa::avx2;
  fail(ErrorKind::unsupported, "MD_ISA", "found '", name, "', expected 'baseline'", supportsAvx2() ? " or 'avx2'" : "");
}

}  // namespace

Isa activeIsa() {
  static const Isa isa = choose();
  return isa;
}

const char* isaName(Isa isa) { return isa == Isa::avx2 ? "avx2" : "baseline"; }

}  // namespace md
