// What this machine can do at most, with as many threads as the argument says:
//   fma=…   GFLOP/s of multiply-adds that stay in registers, in the widest vectors of the processor
//   copy=…  GB/s, read and written, of a copy far beyond the caches, plain or streaming, whichever is faster
#include <pthread.h>
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
static pthread_barrier_t barrier;
static char *source, *target;
static double started;
static double bestFma, bestMemcpy, bestLoop;
static volatile float sink;

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

static void* work(void* argument) {
  const int part = (int)(long)argument;
  const size_t share = copyBytes / (size_t)threads / 64 * 64, offset = share * (size_t)part;
  memset(source + offset, 0, share);
  memset(target + offset, 0, share);
  for (int i = 0; i < tries; i++) {
    begin(part);
    sink = multiplyAdd();
    end(part, 2.0 * lanes * chains * fmaRounds * threads, &bestFma);
    begin(part);
    memcpy(target + offset, source + offset, share);
    end(part, 2.0 * (double)share * threads, &bestMemcpy);
    begin(part);
    copyLoop((const float*)(source + offset), (float*)(target + offset), share / 4);
    end(part, 2.0 * (double)share * threads, &bestLoop);
  }
  return NULL;
}

int main(int count, char** arguments) {
  threads = count > 1 ? atoi(arguments[1]) : 1;
  source = aligned_alloc(64, copyBytes);
  target = aligned_alloc(64, copyBytes);
  pthread_t* others = malloc(sizeof(pthread_t) * (size_t)threads);
  if (threads < 1 || !source || !target || !others) return 1;
  pthread_barrier_init(&barrier, NULL, (unsigned)threads);
  for (int part = 1; part < threads; part++) pthread_create(&others[part], NULL, work, (void*)(long)part);
  work((void*)0);
  for (int part = 1; part < threads; part++) pthread_join(others[part], NULL);
  printf("fma=%.2f copy=%.2f loop=%.2f\n", bestFma, bestMemcpy > bestLoop ? bestMemcpy : bestLoop, bestLoop);
  return 0;
}
