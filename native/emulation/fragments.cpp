#include "fragments.h"

#include <cstring>

#include "../core/half.h"
#include "emulation.h"
#include "threads.h"

namespace md::emulation {
namespace {

float elementOf(uint64_t word, unsigned index, bool bfloat16) {
  const auto bits = static_cast<uint16_t>(word >> 16 * index);
  return bfloat16 ? half::floatOf(static_cast<uint32_t>(bits) << 16) : half::floatOfF16(bits);
}

}  // namespace

void loadMatrices(uint32_t (&x)[4], const void* row, bool transposed) {
  if (!isShared(row)) fault("gives ldmatrix a row that is not in shared memory");
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) fault("gives ldmatrix a row that does not begin at a multiple of 16 bytes");
  const WarpWords& rows = gather({reinterpret_cast<uintptr_t>(row)}, "ldmatrix", source_location::current());
  const uint16_t* elements[8];
  {
    const Pause pause;
    const unsigned group = lane() / 4, pair = lane() % 4 * 2;
    for (unsigned i = 0; i < 8; i++) {
      const unsigned from = transposed ? pair + i % 2 : group, at = transposed ? group : pair + i % 2;
      elements[i] = reinterpret_cast<const uint16_t*>(rows[i / 2 * 8 + from][0]) + at;
    }
  }
  for (const uint16_t* element : elements) accessed(element, sizeof(*element), Access::read);
  for (unsigned matrix = 0; matrix < 4; matrix++) {
    x[matrix] = static_cast<uint32_t>(*elements[2 * matrix + 1]) << 16 | *elements[2 * matrix];
  }
}

void multiplyAdd(float (&sums)[2][4], const uint32_t (&a)[4], const uint32_t (&b)[4], bool bfloat16) {
  Words own;
  std::memcpy(own.data(), a, sizeof(a));
  std::memcpy(own.data() + 2, b, sizeof(b));
  const WarpWords& all = gather(own, "mma", source_location::current());
  const Pause pause;
  const unsigned group = lane() / 4, pair = lane() % 4 * 2;
  // Register r of a lane is half r % 2 of word r / 2; those of B follow those of A.
  const auto at = [&](unsigned lane, unsigned reg, unsigned i) { return elementOf(all[lane][reg / 2], reg % 2 * 2 + i, bfloat16); };
  for (unsigned part = 0; part < 2; part++) {
    for (unsigned i = 0; i < 4; i++) {
      const unsigned column = pair + i % 2, lower = i / 2;
      float sum = sums[part][i];
      for (unsigned k = 0; k < 16; k++) {
        const unsigned deep = k / 8, holder = k % 8 / 2;
        sum += at(group * 4 + holder, lower + 2 * deep, k % 2) * at(column * 4 + holder, 4 + 2 * part + deep, k % 2);
      }
      sums[part][i] = sum;
    }
  }
}

}  // namespace md::emulation
