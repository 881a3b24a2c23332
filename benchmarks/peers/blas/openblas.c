#include <cblas.h>
#include <stdio.h>

#include "product.h"

const char* libraryHello(void) {
  static char hello[200];
  char version[32] = "unknown";
  sscanf(openblas_get_config(), "OpenBLAS %31s", version);
  snprintf(hello, sizeof hello, "name=openblas version=%s isa=%s", version, openblas_get_corename());
  return hello;
}
void useThreads(int threads) { openblas_set_num_threads(threads); }

int productVariants(void) { return 1; }
const char* variantName(int variant) {
  (void)variant;
  return "sgemm";
}

void product(int variant, bool transposeA, bool transposeB, int m, int n, int k, const float* a, const float* b, float* c) {
  (void)variant;
  cblas_sgemm(CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans, transposeB ? CblasTrans : CblasNoTrans, m, n, k, 1, a, transposeA ? m : k, b,
              transposeB ? k : n, 0, c, n);
}
