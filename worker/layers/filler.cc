#include "worker/layers/filler.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "worker/layers/errors.h"

namespace downpour::worker {
namespace {

struct FillerName {
  absl::string_view name;
  Filler filler;
};

constexpr FillerName kFillers[] = {{"constant", Filler::kConstant}, {"gaussian", Filler::kGaussian},
                                   {"uniform", Filler::kUniform},   {"xavier", Filler::kXavier},
                                   {"msra", Filler::kMsra},         {"bilinear", Filler::kBilinear}};

// kInvalidArgument where a filler's own key is missing, or another's is there.
absl::Status CheckKeys(const LayerContext& context, Filler filler) {
  const downpour::Layer& config = context.config;
  struct OwnKey {
    absl::string_view key;
    bool given;
    Filler filler;
    absl::string_view filler_name;
  };
  const OwnKey keys[] = {{"filler_value", config.has_filler_value(), Filler::kConstant, "constant"},
                         {"filler_std", config.has_filler_std(), Filler::kGaussian, "gaussian"},
                         {"filler_min", config.has_filler_min(), Filler::kUniform, "uniform"},
                         {"filler_max", config.has_filler_max(), Filler::kUniform, "uniform"}};
  for (const OwnKey& each : keys) {
    if (each.filler == filler && !each.given) {
      return LayerError(context, "filler ", each.filler_name, " needs ", each.key);
    }
    if (each.filler != filler && each.given) {
      return LayerError(context, each.key, " belongs to filler ", each.filler_name);
    }
  }
  return absl::OkStatus();
}

// One row of a window of `side` values that interpolates between two of the input: a triangle.
float Triangle(int side, int at) {
  const auto half = static_cast<float>((side + 1) / 2);
  const float centre = (static_cast<float>(side) - 1) / 2 / half;
  return 1 - std::abs(static_cast<float>(at) / half - centre);
}

}  // namespace

absl::StatusOr<ParameterSpec> WeightSpec(const LayerContext& context, std::vector<std::uint32_t> shape, int inputs) {
  const downpour::Layer& config = context.config;
  const absl::string_view name = config.filler().empty() ? "xavier" : absl::string_view(config.filler());
  const auto* const known = std::ranges::find(kFillers, name, &FillerName::name);
  if (known == std::end(kFillers)) {
    return LayerError(context, "unknown filler '", name,
                      "'; known are: ", absl::StrJoin(kFillers, ", ", [](std::string* out, const FillerName& each) {
                        absl::StrAppend(out, each.name);
                      }));
  }
  if (absl::Status status = CheckKeys(context, known->filler); !status.ok()) return status;
  if (!(config.filler_std() >= 0)) return LayerError(context, "filler_std is ", config.filler_std(), ", below 0");
  if (!(config.filler_min() <= config.filler_max())) {
    return LayerError(context, "filler_min, ", config.filler_min(), ", is above filler_max, ", config.filler_max());
  }
  if (known->filler == Filler::kBilinear && shape.size() != 4) {
    return LayerError(context, "filler bilinear is for windows, which this layer has not");
  }
  return ParameterSpec{.name = "weight",
                       .shape = std::move(shape),
                       .filler = known->filler,
                       .inputs = inputs,
                       .value = config.filler_value(),
                       .deviation = config.filler_std(),
                       .lowest = config.filler_min(),
                       .highest = config.filler_max()};
}

ParameterSpec BiasSpec(const LayerContext& context, std::uint32_t size) {
  return {.name = "bias", .shape = {size}, .filler = Filler::kConstant, .value = context.config.bias_filler_value()};
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
    case Filler::kGaussian:
      for (float& value : values) value = spec.deviation * random.Gaussian();
      return;
    case Filler::kUniform:
      for (float& value : values) {
        value = spec.lowest + (spec.highest - spec.lowest) * 0.5f * (1 + random.Symmetric());
      }
      return;
    case Filler::kBilinear: {
      const auto side = static_cast<int>(spec.shape.back());
      for (std::size_t i = 0; i < values.size(); ++i) {
        const auto at = static_cast<int>(i % (static_cast<std::size_t>(side) * side));
        values[i] = Triangle(side, at / side) * Triangle(side, at % side);
      }
      return;
    }
  }
}

}  // namespace downpour::worker
