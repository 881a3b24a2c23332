#include "tensor.h"

namespace md {

std::string Dims::str() const {
  std::string out = "[";
  for (int i = 0; i < rank; i++) {
    if (i) out += ',';
    out += std::to_string(d[i]);
  }
  out += ']';
  return out;
}

Dims contiguousStrides(const Dims& shape) {
  Dims stride;
  stride.rank = shape.rank;
  int64_t step = 1;
  for (int i = shape.rank - 1; i >= 0; i--) {
    stride[i] = step;
    step *= shape[i];
  }
  return stride;
}

bool Tensor::contiguous() const {
  int64_t step = 1;
  for (int i = shape.rank - 1; i >= 0; i--) {
    if (shape[i] == 0) return true;
    if (shape[i] != 1 && stride[i] != step) return false;
    step *= shape[i];
  }
  return true;
}

}  // namespace md
