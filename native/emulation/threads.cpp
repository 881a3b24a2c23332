// Threads of a block as fibers. The scheduler resumes one after another until each waits or ends, then opens the barriers
// that are complete.
#include "threads.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <random>
#include <sstream>
#include <string_view>
#include <vector>

#include "emulation.h"
#include "graph.h"

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace md::emulation {
namespace {

constexpr size_t kStackBytes = 128 << 10;
constexpr unsigned kWarp = 32, kMostThreads = 1024;

enum class State { idle, ready, atBlock, atWarp };
/// warpByWarp: one warp runs as far as it can before the next one starts.
enum class Order { forward, reverse, shuffled, warpByWarp, count };

struct Fiber {
  ucontext_t context;
  char* stack = nullptr;
  bool made = false;
  State state = State::idle;
  dim3 index;
  unsigned mask = 0;  // of the warp barrier it waits at
  source_location where;
  const char* what = "";
  unsigned blockEpoch = 0, warpEpoch = 0;
  unsigned parity = 0;  // which row of the warp's exchange comes next
};

struct Warp {
  uint64_t row[2][kWarp];
  WarpWords words[2];
};

struct Scheduler {
  std::vector<Fiber> fibers = std::vector<Fiber>(kMostThreads);
  std::vector<Warp> warps = std::vector<Warp>(kMostThreads / kWarp);
  ucontext_t home;
  unsigned current = 0, threads = 0;
  void (*body)(const void*) = nullptr;
  const void* arguments = nullptr;
  size_t argumentBytes = 0;
  std::mt19937 random{1};
  std::vector<std::pair<const void*, void*>> arrays;  // shared ones of the running block, by key
  std::string fault;
  const char* op = "";
  uint64_t blocks = 0, launches = 0;  // of all launches
};

Scheduler& scheduler() {
  static Scheduler only;
  return only;
}

std::string at(dim3 i) {
  std::ostringstream out;
  out << '(' << i.x << ',' << i.y << ',' << i.z << ')';
  return out.str();
}

std::string place(const source_location& where) {
  const std::string file = where.file_name();
  return file.substr(file.rfind('/', file.rfind('/') - 1) + 1) + ":" + std::to_string(where.line());
}

void leave(State state) {
  Scheduler& s = scheduler();
  Fiber& fiber = s.fibers[s.current];
  fiber.state = state;
  now.running = false;
  swapcontext(&fiber.context, &s.home);
}

// A fiber serves one thread after another.
void fiberMain() {
  for (;;) {
    Scheduler& s = scheduler();
    // On the thread's own stack, as a kernel's parameters are.
    alignas(16) char arguments[4096];
    std::memcpy(arguments, s.arguments, s.argumentBytes);
    now.running = true;
    s.body(arguments);
    leave(State::idle);
  }
}

void resume(unsigned i) {
  Scheduler& s = scheduler();
  Fiber& fiber = s.fibers[i];
  if (!fiber.made) {
    if (!fiber.stack) {
      void* stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (stack == MAP_FAILED) throw std::bad_alloc();
      fiber.stack = static_cast<char*>(stack);
    }
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack;
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, fiberMain, 0);
    fiber.made = true;
    fiber.state = State::idle;
  }
  // One that is idle has yet to start the thread: its main loop sets `running` itself.
  const bool starting = fiber.state == State::idle;
  s.current = i;
  threadIdx = fiber.index;
  now.thread = i;
  now.blockEpoch = fiber.blockEpoch;
  now.warpEpoch = fiber.warpEpoch;
  now.stack = fiber.stack;
  now.stackBytes = kStackBytes;
  fiber.state = State::ready;
  now.running = !starting;
  swapcontext(&s.home, &fiber.context);
}

/// Threads of one block that still have to start, wait, or have ended.
struct BlockRun {
  Scheduler& s;
  Order order;
  std::vector<bool> started, done;

  BlockRun(Scheduler& scheduler, Order schedule) : s(scheduler), order(schedule), started(s.threads), done(s.threads) {}

  bool runnable(unsigned i) const { return !done[i] && (!started[i] || s.fibers[i].state == State::ready); }

  void step(unsigned i) {
    started[i] = true;
    resume(i);
    if (s.fibers[i].state == State::idle) done[i] = true;
  }

  void stop(const std::string& what) {
    if (s.fault.empty()) s.fault = what;
  }

  // Opens the barriers of a warp that all lanes of their mask have reached.
  bool openWarp(unsigned w) {
    const unsigned begin = w * kWarp, end = std::min(s.threads, begin + kWarp);
    bool opened = false;
    for (unsigned i = begin; i < end; i++) {
      Fiber& first = s.fibers[i];
      if (done[i] || first.state != State::atWarp) continue;
      unsigned arrived = 0;
      for (unsigned k = begin; k < end; k++) {
        const Fiber& f = s.fibers[k];
        if (!done[k] && f.state == State::atWarp && f.mask == first.mask && f.what == first.what) arrived |= 1u << (k - begin);
      }
      if ((arrived & first.mask) != first.mask) continue;
      const unsigned mask = first.mask;
      for (unsigned k = begin; k < end; k++) {
        if (!(mask >> (k - begin) & 1)) continue;
        s.fibers[k].state = State::ready;
        s.fibers[k].warpEpoch++;
      }
      opened = true;
    }
    return opened;
  }

  /// False where the block has ended.
  bool openBlock() {
    unsigned waiting = 0, ended = 0, ready = 0;
    const Fiber* first = nullptr;
    bool samePlace = true;
    for (unsigned i = 0; i < s.threads; i++) {
      const Fiber& f = s.fibers[i];
      ended += done[i];
      ready += runnable(i);
      if (done[i] || f.state != State::atBlock) continue;
      waiting++;
      if (!first) first = &f;
      samePlace = samePlace && f.where.line() == first->where.line();
    }
    if (ended == s.threads) return false;
    if (ready > 0) return true;
    if (waiting == s.threads && samePlace) {
      for (unsigned i = 0; i < s.threads; i++) {
        s.fibers[i].state = State::ready;
        s.fibers[i].blockEpoch++;
        s.fibers[i].warpEpoch = 0;
      }
      return true;
    }
    const std::string of = std::to_string(s.threads);
    if (waiting == s.threads) {
      stop("threads wait at different places, one at " + place(first->where));
    } else if (first) {
      stop("__syncthreads at " + place(first->where) + ": " + std::to_string(waiting) + " of " + of + " threads reach it, " +
           std::to_string(ended) + " have ended");
    } else {
      for (unsigned i = 0; i < s.threads; i++) {
        const Fiber& f = s.fibers[i];
        if (done[i] || f.state != State::atWarp) continue;
        stop(std::string(f.what) + " at " + place(f.where) + ": not all lanes of its mask reach it");
        break;
      }
    }
    return true;
  }

  void run() {
    std::vector<unsigned> turn(s.threads);
    for (unsigned i = 0; i < s.threads; i++) turn[i] = order == Order::reverse ? s.threads - 1 - i : i;
    const unsigned warpCount = (s.threads + kWarp - 1) / kWarp;
    while (s.fault.empty()) {
      if (order == Order::shuffled) std::shuffle(turn.begin(), turn.end(), s.random);
      if (order == Order::warpByWarp) {
        for (unsigned w = 0; w < warpCount; w++) {
          do {
            for (unsigned i = w * kWarp; i < std::min(s.threads, (w + 1) * kWarp); i++) {
              if (runnable(i) && s.fault.empty()) step(i);
            }
          } while (s.fault.empty() && openWarp(w));
        }
      } else {
        for (const unsigned i : turn) {
          if (runnable(i) && s.fault.empty()) step(i);
        }
        for (unsigned w = 0; w < warpCount; w++) openWarp(w);
      }
      if (s.fault.empty() && !openBlock()) return;
    }
  }
};

}  // namespace

void fault(const std::string& what) {
  now.running = false;
  Scheduler& s = scheduler();
  s.fault = "block " + at(blockIdx) + " thread " + at(threadIdx) + " " + what;
  // Left where it is, without unwinding; its fiber starts anew.
  s.fibers[s.current].made = false;
  leave(State::atBlock);
  __builtin_unreachable();
}

const std::string& lastFault() { return scheduler().fault; }
void forgetFault() { scheduler().fault.clear(); }

unsigned lane() { return scheduler().current % kWarp; }

void* sharedMemory(const void* key, size_t bytes) {
  const Pause pause;
  Scheduler& s = scheduler();
  for (const auto& [known, memory] : s.arrays)
    if (known == key) return memory;
  void* memory = allocateShared(bytes);
  if (!memory) fault("asks for more than 48 KiB of shared memory");
  s.arrays.emplace_back(key, memory);
  return memory;
}

void wait(Barrier barrier, unsigned mask, const char* what, const source_location& where) {
  const Pause pause;
  Scheduler& s = scheduler();
  Fiber& fiber = s.fibers[s.current];
  if (barrier == Barrier::warp && !(mask >> lane() & 1)) fault(std::string(what) + " at " + place(where) + ": its mask leaves out the caller");
  fiber.mask = mask;
  fiber.what = what;
  fiber.where = where;
  leave(barrier == Barrier::block ? State::atBlock : State::atWarp);
}

uint64_t exchange(unsigned mask, uint64_t value, unsigned source, const char* what, const source_location& where) {
  const Pause pause;
  Scheduler& s = scheduler();
  Fiber& fiber = s.fibers[s.current];
  Warp& warp = s.warps[s.current / kWarp];
  // Rows take turns, so that one wait is enough: a lane that is ahead writes the other row.
  const unsigned row = fiber.parity++ & 1;
  warp.row[row][lane()] = value;
  wait(Barrier::warp, mask, what, where);
  if (!(mask >> source & 1)) fault(std::string(what) + " at " + place(where) + ": reads lane " + std::to_string(source) + ", which its mask leaves out");
  return s.warps[s.current / kWarp].row[row][source];
}

unsigned vote(unsigned mask, bool value, const char* what, const source_location& where) {
  const Pause pause;
  Scheduler& s = scheduler();
  const unsigned row = s.fibers[s.current].parity++ & 1;
  s.warps[s.current / kWarp].row[row][lane()] = value;
  wait(Barrier::warp, mask, what, where);
  unsigned votes = 0;
  for (unsigned i = 0; i < kWarp; i++) {
    if (mask >> i & 1 && s.warps[s.current / kWarp].row[row][i]) votes |= 1u << i;
  }
  return votes;
}

const WarpWords& gather(const Words& own, const char* what, const source_location& where) {
  const Pause pause;
  Scheduler& s = scheduler();
  WarpWords& words = s.warps[s.current / kWarp].words[s.fibers[s.current].parity++ & 1];
  words[lane()] = own;
  wait(Barrier::warp, ~0u, what, where);
  return words;
}

void atomicAccess(const void* address, size_t bytes) { accessed(address, bytes, Access::atomic); }

void run(int device, const char* op, dim3 grid, dim3 block, void (*body)(const void*), const void* arguments, size_t bytes) {
  if (capturing(device)) {
    const std::vector<char> kept(static_cast<const char*>(arguments), static_cast<const char*>(arguments) + bytes);
    return capture(device, [=] { run(device, op, grid, block, body, kept.data(), kept.size()); });
  }
  Scheduler& s = scheduler();
  if (!s.fault.empty()) return;
  // MD_EMULATED_FAULT=op stands for a fault in that op's kernels.
  if (const char* wanted = std::getenv("MD_EMULATED_FAULT"); wanted && std::string_view(wanted) == op) {
    s.fault = "block (0,0,0) thread (0,0,0) was told to fault";
    return;
  }
  const unsigned threads = block.x * block.y * block.z;
  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
  if (threads == 0 || threads > kMostThreads || threads % kWarp != 0 || blocks == 0 || grid.y > 65535 || grid.z > 65535 || bytes > 4096) {
    s.fault = "launch of " + at(grid) + " blocks of " + at(block) + " threads with " + std::to_string(bytes) + " bytes of arguments";
    return;
  }
  gridDim = grid;
  blockDim = block;
  s.op = op;
  s.threads = threads;
  s.body = body;
  s.arguments = arguments;
  s.argumentBytes = bytes;
  now.device = device;
  now.firstBlock = s.blocks + 1;
  const auto order = static_cast<Order>(s.launches++ % static_cast<uint64_t>(Order::count));
  std::vector<uint64_t> turn(blocks);
  for (uint64_t k = 0; k < blocks; k++) turn[k] = order == Order::reverse ? blocks - 1 - k : k;
  if (order == Order::shuffled) std::shuffle(turn.begin(), turn.end(), s.random);
  const Open open;
  for (const uint64_t k : turn) {
    if (!s.fault.empty()) break;
    now.block = ++s.blocks;
    blockIdx = dim3(static_cast<unsigned>(k % grid.x), static_cast<unsigned>(k / grid.x % grid.y), static_cast<unsigned>(k / grid.x / grid.y));
    s.arrays.clear();
    for (unsigned i = 0; i < threads; i++) {
      Fiber& f = s.fibers[i];
      f.index = dim3(i % block.x, i / block.x % block.y, i / block.x / block.y);
      f.blockEpoch = f.warpEpoch = f.parity = 0;
    }
    BlockRun(s, order).run();
    resetShared();
  }
  now.running = false;
  if (s.fault.empty()) return;
  // Threads that a fault left waiting must not be resumed by a later launch.
  for (unsigned i = 0; i < threads; i++)
    if (s.fibers[i].state != State::idle) s.fibers[i].made = false;
  for (Fiber& f : s.fibers) {
    if (!f.made) f.state = State::idle;
  }
}

}  // namespace md::emulation
