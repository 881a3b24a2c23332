// The running GPU thread, and what ends its launch.
#pragma once
#include "memory.h"

namespace md::emulation {

/// Ends the launch: the running thread, and with it all others, is left where it is.
[[noreturn]] void fault(const std::string& what);

/// While the emulation itself works for the running thread. Its own accesses may be reported too: of functions of the
/// standard library the linker keeps one copy, perhaps an instrumented one.
class Pause {
 public:
  Pause() { now.running = false; }
  ~Pause() { now.running = true; }
};

/// Before each access: nothing outside of launches; in one, fault() where memory.h's check finds something.
inline void accessed(const void* address, size_t bytes, Access access) {
  if (!now.running) return;
  const Pause pause;
  const std::string wrong = check(address, bytes, access);
  if (!wrong.empty()) fault(wrong);
}

/// What went wrong in a launch; empty if nothing did. As on a GPU, nothing can be launched or copied after that.
const std::string& lastFault();
/// Forgets it: for tests of faults.
void forgetFault();

}  // namespace md::emulation
