// A peer of matrix products alone: `peer THREADS` serves the protocol of ../protocol.ts on a BLAS, see product.h.
//   linear      inputs x [m, k], w [n, k]    y  = x wᵀ   [m, n]
//   linearGradX inputs dy [m, n], w [n, k]   dx = dy w   [m, k]
//   linearGradW inputs dy [m, n], x [m, k]   dw = dyᵀ x  [n, k]
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "product.h"

static struct {
  bool transposeA, transposeB;
  int m, n, k, variant;
  float *a, *b, *c;
} job;

static void fail(const char* why) {
  fprintf(stderr, "%s\n", why);
  exit(1);
}

// The number behind `key=` in a line.
static long number(const char* line, const char* key) {
  char pattern[32];
  snprintf(pattern, sizeof pattern, " %s=", key);
  const char* at = strstr(line, pattern);
  if (!at) fail("a field is missing");
  return strtol(at + strlen(pattern), NULL, 10);
}

static double milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return 1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec;
}

static void compute(void) {
  product(job.variant, job.transposeA, job.transposeB, job.m, job.n, job.k, job.a, job.b, job.c);
}
static double timeRuns(long iterations) {
  if (iterations > 1) compute();
  const double start = milliseconds();
  for (long i = 0; i < iterations; i++) compute();
  return milliseconds() - start;
}

static void releaseJob(void) {
  free(job.a);
  free(job.b);
  free(job.c);
  job.a = job.b = job.c = NULL;
}

static float* allocate(size_t count) {
  float* block = aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64);
  if (!block) fail("out of memory");
  return block;
}
static float* receive(size_t count) {
  float* block = allocate(count);
  if (fread(block, sizeof(float), count, stdin) != count) fail("the input ended early");
  return block;
}

static void prepare(const char* line) {
  releaseJob();
  const int m = (int)number(line, "m"), n = (int)number(line, "n"), k = (int)number(line, "k");
  job.transposeA = job.transposeB = false;
  if (strstr(line, " op=linearGradX ")) {
    job.m = m, job.n = k, job.k = n;
  } else if (strstr(line, " op=linearGradW ")) {
    job.m = n, job.n = k, job.k = m, job.transposeA = true;
  } else {
    job.m = m, job.n = n, job.k = k, job.transposeB = true;
  }
  const size_t outputs = (size_t)job.m * (size_t)job.n;
  job.a = receive((size_t)job.m * (size_t)job.k);
  job.b = receive((size_t)job.k * (size_t)job.n);
  job.c = allocate(outputs);
  int best = 0;
  double bestTime = 0;
  for (int variant = 0; variant < productVariants(); variant++) {
    job.variant = variant;
    compute();
    double time = timeRuns(1);
    for (int i = 0; i < 4; i++) {
      const double again = timeRuns(1);
      if (again < time) time = again;
    }
    if (variant == 0 || time < bestTime) best = variant, bestTime = time;
  }
  job.variant = best;
  compute();
  printf("ready variant=%s tensors=f32:%dx%d bytes=%zu\n", variantName(best), job.m, job.n, outputs * sizeof(float));
  fwrite(job.c, sizeof(float), outputs, stdout);
}

int main(int count, char** arguments) {
  const int threads = count > 1 ? atoi(arguments[1]) : 1;
  useThreads(threads);
  printf("hello %s threads=%d ops=linear,linearGradX,linearGradW\n", libraryHello(), threads);
  fflush(stdout);
  char line[1024];
  while (fgets(line, sizeof line, stdin)) {
    if (strncmp(line, "prepare ", 8) == 0) {
      prepare(line);
    } else if (strncmp(line, "time ", 5) == 0) {
      printf("took ms=%.6f\n", timeRuns(number(line, "iterations")));
    } else {
      releaseJob();
      printf("released\n");
    }
    fflush(stdout);
  }
  return 0;
}
