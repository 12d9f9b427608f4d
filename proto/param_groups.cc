#include "proto/param_groups.h"

#include <map>

#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace downpour {

std::vector<ParamGroup> ParamGroups(const Job& job, const TableSpec& spec) {
  std::map<absl::string_view, const Layer*> layers;
  for (const Layer& layer : job.net()) layers.emplace(layer.name(), &layer);
  const auto layer_of = [&layers](absl::string_view name) {
    const auto found = layers.find(name);
    return found == layers.end() ? nullptr : found->second;
  };
  std::vector<ParamGroup> groups;
  for (const TensorSpec& tensor : spec.tensors()) {
    ParamGroup& group = groups.emplace_back();
    // Nothing stands before the first tensor; if something did, it would have to belong to someone.
    group.begin = groups.size() == 1 ? 0 : tensor.offset();
    if (groups.size() > 1) groups[groups.size() - 2].end = group.begin;
    group.end = spec.elements();
    group.settings.average = tensor.average();
    absl::string_view name = tensor.name();
    const Layer* layer = nullptr;
    if (absl::ConsumeSuffix(&name, ".weight") && (layer = layer_of(name)) != nullptr) {
      if (layer->has_lr_mult()) group.settings.lr_mult = layer->lr_mult();
      if (layer->has_decay_mult()) group.settings.decay_mult = layer->decay_mult();
    } else if (absl::ConsumeSuffix(&name, ".bias") && (layer = layer_of(name)) != nullptr) {
      if (layer->has_bias_lr_mult()) group.settings.lr_mult = layer->bias_lr_mult();
      if (layer->has_bias_decay_mult()) group.settings.decay_mult = layer->bias_decay_mult();
    }
  }
  return groups;
}

}  // namespace downpour
