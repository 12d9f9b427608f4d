// Whether a label is among the classes of the highest scores.
#pragma once

#include <cmath>
#include <span>

namespace downpour::kernels::reference {

// Of equals the first counts as higher. A NaN counts as higher than any other score, and is never right itself.
inline bool InTopK(std::span<const float> scores, int label, int k) {
  if (std::isnan(scores[label])) return false;
  int higher = 0;
  for (int j = 0; j < static_cast<int>(scores.size()); ++j) {
    if (std::isnan(scores[j]) || scores[j] > scores[label]) ++higher;
    if (scores[j] == scores[label] && j < label) ++higher;
  }
  return higher < k;
}

}  // namespace downpour::kernels::reference
