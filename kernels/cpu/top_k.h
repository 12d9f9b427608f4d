// Whether a label is among the classes of the highest scores.
#pragma once

#include <cstddef>

namespace downpour::kernels::cpu {

// Of equals the first counts as higher. A NaN counts as higher than any other score, and is never right itself.
inline bool InTopK(const float* scores, std::size_t classes, std::size_t label, int k) {
  const float own = scores[label];
  std::size_t higher = 0;
  for (std::size_t j = 0; j < label; ++j) higher += !(scores[j] < own);
  for (std::size_t j = label + 1; j < classes; ++j) higher += !(scores[j] <= own);
  return own == own && higher < static_cast<std::size_t>(k);
}

}  // namespace downpour::kernels::cpu
