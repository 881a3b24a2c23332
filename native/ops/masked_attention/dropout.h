// Dropout of attention weights: 16 random bits a weight, a function of its place alone, so that the backward pass draws the
// same ones again. For kernel files only.
#pragma once
#include "../../core/philox.h"
#include "kernels.h"

namespace md::masked_attention::MD_ISA {

/// 0 or 1 / (1 - p) for weights of one (batch, head).
template <class T>
struct Dropper {
  static constexpr int64_t kGroup = 8;  // keys of one draw

  const Dropout& dropout;
  int64_t groups;   // draws of a query
  uint64_t offset;  // draw of the head's first

  Dropper(const Problem& p, int64_t batch, int64_t head)
      : dropout(p.dropout),
        groups((p.keys + kGroup - 1) / kGroup),
        offset(p.dropout.offset + static_cast<uint64_t>((batch * p.heads + head) * p.queries * groups)) {}

  /// Multiplies values of `queries` rows from `query` on and `keys` columns from `key` on, at query · queryStep + key · keyStep.
  void apply(int64_t query, int64_t queries, int64_t key, int64_t keys, T* values, int64_t queryStep, int64_t keyStep) const {
    const T factor[2] = {T(0), static_cast<T>(dropout.factor)};
    for (int64_t i = 0; i < queries; i++) {
      T* row = values + i * queryStep;
      const uint64_t first = offset + static_cast<uint64_t>((query + i) * groups);
      for (int64_t j = key / kGroup * kGroup; j < key + keys; j += kDraws * kGroup) {
        uint32_t bits[4][kDraws];
        draw(first + static_cast<uint64_t>(j / kGroup), bits);
        const int64_t begin = j < key ? key : j, end = j + kDraws * kGroup < key + keys ? j + kDraws * kGroup : key + keys;
        for (int64_t at = begin; at < end; at++) {
          const uint32_t word = bits[(at - j) % kGroup / 2][(at - j) / kGroup];
          row[(at - key) * keyStep] *= factor[(word >> 16 * (at % 2) & 0xFFFFu) >= dropout.threshold];
        }
      }
    }
  }

 private:
  static constexpr int kDraws = 8;  // made together: their rounds fill vectors

  void draw(uint64_t counter, uint32_t (&c)[4][kDraws]) const {
    for (uint64_t lane = 0; lane < kDraws; lane++) {
      c[0][lane] = static_cast<uint32_t>(counter + lane);
      c[1][lane] = static_cast<uint32_t>((counter + lane) >> 32);
      c[2][lane] = c[3][lane] = 0;
    }
    uint32_t k0 = static_cast<uint32_t>(dropout.seed), k1 = static_cast<uint32_t>(dropout.seed >> 32);
    for (int round = 0; round < 10; round++) {
      for (int lane = 0; lane < kDraws; lane++) philoxRound(c[0][lane], c[1][lane], c[2][lane], c[3][lane], k0, k1);
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
  }
};

}  // namespace md::masked_attention::MD_ISA
