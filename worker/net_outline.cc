#include "worker/net_outline.h"

#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "kernels/device.h"
#include "worker/layers/layer.h"
#include "worker/layers/table.h"
#include "worker/sample_shape.h"

namespace downpour::worker {
namespace {

constexpr std::size_t kMaxValues = std::size_t{1} << 26;

}  // namespace

absl::Status AppendLayer(const downpour::Layer& config, const std::vector<int>& inputs, kernels::Device& device,
                         NetOutline* net) {
  LayerOutline outline{.name = config.name(),
                       .type = config.type(),
                       .layer = static_cast<int>(net->layers.size()),
                       .inputs = inputs,
                       .first_parameter = net->parameters.size()};
  std::vector<LayerInput> described;
  for (const int input : inputs) {
    if (input != kSamples && net->layers[input].loss) {
      return absl::InvalidArgumentError(absl::StrCat("layer ", config.name(), " (", config.type(), ") comes after layer ",
                                                     net->layers[input].name, ", a loss, which has no values to take"));
    }
    outline.input_shapes.push_back(input == kSamples ? net->sample : net->layers[input].output);
    described.push_back({input == kSamples ? "the input" : absl::StrCat("layer ", net->layers[input].name),
                         outline.input_shapes.back()});
  }
  const auto made = MakeLayer({config, described, 1, device});
  if (!made.ok()) return made.status();
  if (const auto* const layer = std::get_if<std::unique_ptr<Layer>>(&*made)) {
    outline.output = (*layer)->output();
    outline.multiply_accumulates = (*layer)->multiply_accumulates();
    outline.gradient_in_place = (*layer)->gradient_in_place();
    if (outline.output.size() > kMaxValues) {
      return absl::InvalidArgumentError(absl::StrCat("layer ", config.name(), " (", config.type(), ") gives ",
                                                     kernels::ToString(outline.output), ", more than ", kMaxValues,
                                                     " values a sample"));
    }
    for (const ParameterSpec& spec : (*layer)->parameters()) {
      net->parameters.push_back({absl::StrCat(config.name(), ".", std::string(spec.name)), spec.shape,
                                 net->parameter_count, spec.size(), spec.average});
      net->parameter_count += spec.size();
    }
  } else {
    outline.loss = true;
  }
  outline.parameters = net->parameters.size() - outline.first_parameter;
  net->layers.push_back(std::move(outline));
  return absl::OkStatus();
}

absl::StatusOr<NetOutline> OutlineNet(const google::protobuf::RepeatedPtrField<downpour::Layer>& layers,
                                      const std::vector<std::uint32_t>& sample_shape) {
  const auto device = kernels::MakeDevice("reference", {});
  if (!device.ok()) return device.status();
  const auto sample = SampleShape(sample_shape);
  if (!sample.ok()) return sample.status();
  if (sample->size() > kMaxValues) {
    return absl::InvalidArgumentError(absl::StrCat("data.shape is more than ", kMaxValues, " values"));
  }
  const auto order = OrderLayers(layers);
  if (!order.ok()) return order.status();
  NetOutline net{.sample = *sample};
  for (const GraphNode& node : *order) {
    if (absl::Status status = AppendLayer(layers[node.layer], node.inputs, **device, &net); !status.ok()) return status;
    net.layers.back().layer = node.layer;
  }
  return net;
}

std::vector<PlannedStage> PlannedStages(const NetOutline& net) {
  std::vector<PlannedStage> stages;
  std::vector<int> stage_of(net.layers.size());
  for (const bool losses : {false, true}) {
    for (std::size_t i = 0; i < net.layers.size(); ++i) {
      const LayerOutline& layer = net.layers[i];
      if (layer.loss != losses) continue;
      stage_of[i] = static_cast<int>(stages.size());
      PlannedStage stage;
      for (const int input : layer.inputs) stage.inputs.push_back(input == kSamples ? kSamples : stage_of[input]);
      if (!losses) {
        stage.values = layer.output.size();
        stage.has_parameters = layer.parameters > 0;
        stage.gradient_in_place = layer.gradient_in_place;
      }
      stages.push_back(std::move(stage));
    }
  }
  return stages;
}

}  // namespace downpour::worker
