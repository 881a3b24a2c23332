// Tells the processor that a thread spins.
#pragma once

namespace md {

inline void pauseSpinning() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

}  // namespace md
