// What this machine can do at most, with as many threads as the first argument says:
//   fma=…   GFLOP/s of multiply-adds that stay in registers, in the widest vectors of the processor
//   copy=…  GB/s, read and written, of a copy far beyond the caches, plain or streaming, whichever is faster
// With a second argument it serves the protocol of ../peers/protocol.ts instead: the op `copy` moves `moved` bytes, read
// and written.
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__AVX512F__)
enum { vectorBytes = 64 };
#elif defined(__AVX__)
enum { vectorBytes = 32 };
#else
enum { vectorBytes = 16 };
#endif
typedef float Vector __attribute__((vector_size(vectorBytes)));

enum { lanes = vectorBytes / 4, chains = 12, fmaRounds = 4000000, tries = 20 };
static const size_t copyBytes = (size_t)1 << 27;  // an array of the memory-bound cases

static int threads;
static bool serving;
static pthread_barrier_t barrier;
static char *source, *target;
static double started;
static volatile float sink;

enum { plain, streaming, ways };
static const char* const wayName[ways] = {"loop", "memcpy"};
static double bestFma, bestCopy[ways];
static int fastest;

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

// `best` is what one thread wrote down; all threads see the same clock between two barriers.
static void begin(int part) {
  pthread_barrier_wait(&barrier);
  if (part == 0) started = seconds();
  pthread_barrier_wait(&barrier);
}
static void end(int part, double work, double* best) {
  pthread_barrier_wait(&barrier);
  if (part != 0) return;
  const double rate = work / (seconds() - started) / 1e9;
  if (rate > *best) *best = rate;
}

static float multiplyAdd(void) {
  Vector sum[chains];
  for (int i = 0; i < chains; i++) sum[i] = (Vector){0} + (float)i;
  const Vector a = (Vector){0} + 0.999f, b = (Vector){0} + 1e-3f;
  for (int round = 0; round < fmaRounds; round++) {
#pragma GCC unroll 12
    for (int i = 0; i < chains; i++) sum[i] = sum[i] * a + b;
  }
  float total = 0;
  for (int i = 0; i < chains; i++)
    for (int lane = 0; lane < lanes; lane++) total += sum[i][lane];
  return total;
}

static void copyLoop(const float* from, float* to, size_t count) {
  for (size_t i = 0; i < count; i++) to[i] = from[i] * 1.0001f;  // not a plain copy, which the compiler would call memcpy for
}

static size_t shareBytes(void) { return copyBytes / (size_t)threads / 64 * 64; }
static double movedBytes(void) { return 2.0 * (double)shareBytes() * threads; }

static void copy(int part, int way) {
  const size_t share = shareBytes(), offset = share * (size_t)part;
  begin(part);
  if (way == streaming) {
    memcpy(target + offset, source + offset, share);
  } else {
    copyLoop((const float*)(source + offset), (float*)(target + offset), share / sizeof(float));
  }
  end(part, movedBytes(), &bestCopy[way]);
}

// The number behind `key=` in a line; 0 where there is none.
static double number(const char* line, const char* key) {
  const char* at = strstr(line, key);
  return at ? strtod(at + strlen(key), NULL) : 0;
}

// Of the first thread; the others copy whenever it does.
static void serve(void) {
  double moved = movedBytes();
  printf("hello name=copy version=%d isa=%d-byte threads=%d ops=copy\n", 1, vectorBytes, threads);
  fflush(stdout);
  char line[1024];
  while (fgets(line, sizeof line, stdin)) {
    if (strncmp(line, "prepare ", 8) == 0) {
      moved = number(line, " moved=");
      printf("ready variant=%s\n", wayName[fastest]);
    } else if (strncmp(line, "time ", 5) == 0) {
      const double start = seconds();
      for (double left = number(line, " iterations="); left > 0; left--) copy(0, fastest);
      printf("took ms=%.6f\n", 1e3 * (seconds() - start) * moved / movedBytes());
    } else {
      printf("released\n");
    }
    fflush(stdout);
  }
}

static void* work(void* argument) {
  const int part = (int)(long)argument;
  memset(source + shareBytes() * (size_t)part, 0, shareBytes());
  memset(target + shareBytes() * (size_t)part, 0, shareBytes());
  for (int i = 0; i < tries; i++) {
    if (!serving) {
      begin(part);
      sink = multiplyAdd();
      end(part, 2.0 * lanes * chains * fmaRounds * threads, &bestFma);
    }
    for (int way = 0; way < ways; way++) copy(part, way);
  }
  if (part == 0) fastest = bestCopy[streaming] > bestCopy[plain] ? streaming : plain;
  pthread_barrier_wait(&barrier);
  if (part == 0 && serving) serve();
  while (part != 0 && serving) copy(part, fastest);
  return NULL;
}

int main(int count, char** arguments) {
  threads = count > 1 ? atoi(arguments[1]) : 1;
  serving = count > 2;
  source = aligned_alloc(64, copyBytes);
  target = aligned_alloc(64, copyBytes);
  pthread_t* others = malloc(sizeof(pthread_t) * (size_t)threads);
  if (threads < 1 || !source || !target || !others) return 1;
  pthread_barrier_init(&barrier, NULL, (unsigned)threads);
  for (int part = 1; part < threads; part++) pthread_create(&others[part], NULL, work, (void*)(long)part);
  work((void*)0);
  if (serving) return 0;  // the others wait to copy again
  for (int part = 1; part < threads; part++) pthread_join(others[part], NULL);
  printf("fma=%.2f copy=%.2f\n", bestFma, bestCopy[fastest]);
  return 0;
}
