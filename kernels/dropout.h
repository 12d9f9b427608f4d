// Dropout (Srivastava et al. 2014), in the form in which values that are kept grow by what the others would have added:
// output = input / (1 - rate) where kept, else 0. Which are kept follows from a seed and a value's place in the batch
// alone, on every device.
#pragma once

#include <cstdint>

#include "kernels/tensor_view.h"

namespace downpour::kernels {

// A number for each place, as if by chance: two rounds of Wellons' 32-bit mixer "lowbias32".
[[gnu::always_inline]] constexpr std::uint32_t DropoutDraw(std::uint64_t seed, std::uint32_t place) {
  std::uint32_t h = place + static_cast<std::uint32_t>(seed);
  for (int round = 0; round < 2; ++round) {
    h ^= h >> 16;
    h *= 0x7feb352du;
    h ^= h >> 15;
    h *= 0x846ca68bu;
    h ^= h >> 16;
    h ^= static_cast<std::uint32_t>(seed >> 32);
  }
  return h;
}

// A value is kept where its draw is at least this; rate is in [0, 1).
inline std::uint32_t DropoutThreshold(float rate) {
  return static_cast<std::uint32_t>(static_cast<double>(rate) * 0x1p32);
}

// Views must have the plan's shape and one batch size, at most the plan's.
class Dropout {
 public:
  virtual ~Dropout() = default;

  // Of values into outputs, and with the same seed of the outputs' gradients into the values'. The seed lies in the
  // device's memory.
  virtual void Apply(const std::uint64_t* seed, ConstTensorView from, TensorView to) = 0;
};

}  // namespace downpour::kernels
