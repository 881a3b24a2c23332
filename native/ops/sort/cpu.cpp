#include "op.h"

namespace md::sort::MD_ISA {

void digitCounts(const int64_t* codes, int64_t begin, int64_t end, int shift, int64_t mask, int32_t* counts) {
  for (int64_t i = begin; i < end; i++) counts[codes[i] >> shift & mask]++;
}

void digitScatter(const int64_t* codes, const int32_t* order, int64_t begin, int64_t end, int shift, int64_t mask,
                  int32_t* next, int64_t* codesOut, int32_t* orderOut) {
  for (int64_t i = begin; i < end; i++) {
    const int32_t to = next[codes[i] >> shift & mask]++;
    codesOut[to] = codes[i];
    orderOut[to] = order[i];
  }
}

}  // namespace md::sort::MD_ISA
