#include <dnnl.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include "product.h"

static const char* isaName(void) {
  switch (dnnl_get_effective_cpu_isa()) {
    case dnnl_cpu_isa_sse41: return "sse41";
    case dnnl_cpu_isa_avx: return "avx";
    case dnnl_cpu_isa_avx2: return "avx2";
    case dnnl_cpu_isa_avx512_core: return "avx512_core";
    case dnnl_cpu_isa_avx512_core_vnni: return "avx512_core_vnni";
    case dnnl_cpu_isa_avx512_core_bf16: return "avx512_core_bf16";
    case dnnl_cpu_isa_avx512_core_amx: return "avx512_core_amx";
    default: return "other";
  }
}

const char* libraryHello(void) {
  static char hello[100];
  const dnnl_version_t* version = dnnl_version();
  snprintf(hello, sizeof hello, "name=onednn version=%d.%d.%d isa=%s", version->major, version->minor, version->patch, isaName());
  return hello;
}
void useThreads(int threads) { omp_set_num_threads(threads); }

static void require(dnnl_status_t status) {
  if (status == dnnl_success) return;
  fprintf(stderr, "oneDNN failed with status %d\n", status);
  exit(1);
}

static void sgemm(bool transposeA, bool transposeB, int m, int n, int k, const float* a, const float* b, float* c) {
  require(dnnl_sgemm(transposeA ? 'T' : 'N', transposeB ? 'T' : 'N', m, n, k, 1, a, transposeA ? m : k, b, transposeB ? k : n, 0, c, n));
}

#if DNNL_VERSION_MAJOR == 2
// The matmul primitive, made once for a shape and then used again, as frameworks do.
static dnnl_memory_t wrap(dnnl_engine_t engine, int rows, int cols, bool transposed, const float* data) {
  const dnnl_dims_t shape = {rows, cols}, strides = {transposed ? 1 : cols, transposed ? rows : 1};
  dnnl_memory_desc_t description;
  require(dnnl_memory_desc_init_by_strides(&description, 2, shape, dnnl_f32, strides));
  dnnl_memory_t memory;
  require(dnnl_memory_create(&memory, &description, engine, (void*)data));
  return memory;
}

static struct {
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  dnnl_primitive_t primitive;
  dnnl_exec_arg_t operands[3];
  bool transposeA, transposeB;
  int m, n, k;
  const float *a, *b, *c;
} cached;

static void makePrimitive(bool transposeA, bool transposeB, int m, int n, int k, const float* a, const float* b, float* c) {
  if (!cached.engine) {
    require(dnnl_engine_create(&cached.engine, dnnl_cpu, 0));
    require(dnnl_stream_create(&cached.stream, cached.engine, dnnl_stream_default_flags));
  }
  if (cached.primitive) {
    require(dnnl_primitive_destroy(cached.primitive));
    for (int i = 0; i < 3; i++) require(dnnl_memory_destroy(cached.operands[i].memory));
  }
  const dnnl_exec_arg_t operands[3] = {{DNNL_ARG_SRC, wrap(cached.engine, m, k, transposeA, a)},
                                       {DNNL_ARG_WEIGHTS, wrap(cached.engine, k, n, transposeB, b)},
                                       {DNNL_ARG_DST, wrap(cached.engine, m, n, false, c)}};
  const dnnl_memory_desc_t* descriptions[3];
  for (int i = 0; i < 3; i++) {
    cached.operands[i] = operands[i];
    require(dnnl_memory_get_memory_desc(operands[i].memory, &descriptions[i]));
  }
  dnnl_matmul_desc_t matmul;
  require(dnnl_matmul_desc_init(&matmul, descriptions[0], descriptions[1], NULL, descriptions[2]));
  dnnl_primitive_desc_t choice;
  require(dnnl_primitive_desc_create(&choice, &matmul, NULL, cached.engine, NULL));
  require(dnnl_primitive_create(&cached.primitive, choice));
  require(dnnl_primitive_desc_destroy(choice));
  cached.transposeA = transposeA, cached.transposeB = transposeB;
  cached.m = m, cached.n = n, cached.k = k;
  cached.a = a, cached.b = b, cached.c = c;
}

static void matmulPrimitive(bool transposeA, bool transposeB, int m, int n, int k, const float* a, const float* b, float* c) {
  const bool same = cached.primitive && cached.transposeA == transposeA && cached.transposeB == transposeB && cached.m == m && cached.n == n &&
                    cached.k == k && cached.a == a && cached.b == b && cached.c == c;
  if (!same) makePrimitive(transposeA, transposeB, m, n, k, a, b, c);
  require(dnnl_primitive_execute(cached.primitive, cached.stream, 3, cached.operands));
  require(dnnl_stream_wait(cached.stream));
}

int productVariants(void) { return 2; }
const char* variantName(int variant) { return variant == 0 ? "sgemm" : "matmul"; }
void product(int variant, bool transposeA, bool transposeB, int m, int n, int k, const float* a, const float* b, float* c) {
  (variant == 0 ? sgemm : matmulPrimitive)(transposeA, transposeB, m, n, k, a, b, c);
}
#else
int productVariants(void) { return 1; }
const char* variantName(int variant) {
  (void)variant;
  return "sgemm";
}
void product(int variant, bool transposeA, bool transposeB, int m, int n, int k, const float* a, const float* b, float* c) {
  (void)variant;
  sgemm(transposeA, transposeB, m, n, k, a, b, c);
}
#endif
