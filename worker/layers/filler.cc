#include "worker/layers/filler.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"

namespace downpour::worker {

absl::StatusOr<Filler> FillerFromName(std::string_view name) {
  if (name.empty() || name == "xavier") return Filler::kXavier;
  if (name == "msra") return Filler::kMsra;
  return absl::InvalidArgumentError(
      absl::StrCat("unknown filler '", std::string(name), "'; known are: xavier, msra"));
}

void Fill(const ParameterSpec& spec, Random& random, std::span<float> values) {
  switch (spec.filler) {
    case Filler::kZero:
      std::ranges::fill(values, 0.0f);
      return;
    case Filler::kXavier: {
      const float bound = std::sqrt(3.0f / static_cast<float>(spec.inputs));
      for (float& value : values) value = bound * random.Symmetric();
      return;
    }
    case Filler::kMsra: {
      const float deviation = std::sqrt(2.0f / static_cast<float>(spec.inputs));
      for (float& value : values) value = deviation * random.Gaussian();
      return;
    }
    case Filler::kConstant:
      std::ranges::fill(values, spec.value);
      return;
  }
}

}  // namespace downpour::worker
