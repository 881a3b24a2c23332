// What peer.c needs of a BLAS.
#pragma once
#include <stdbool.h>

// The words `name=… version=… isa=…` of the greeting.
const char* libraryHello(void);
void useThreads(int threads);

// Ways to compute a product, tried by number; 0 is always there.
int productVariants(void);
const char* variantName(int variant);
// c [m, n] = op(a) op(b), row-major; op(a) is [m, k], stored [k, m] where transposed, and so is op(b).
void product(int variant, bool transposeA, bool transposeB, int m, int n, int k, const float* a, const float* b, float* c);
