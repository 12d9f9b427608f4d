#include "proto/param_groups.h"

#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"

namespace downpour {

std::vector<ParamGroup> ParamGroups(const Job& job, const TableSpec& spec) {
  std::map<absl::string_view, const Layer*> layers;
  for (const Layer& layer : job.net()) layers.emplace(layer.name(), &layer);
  // The layer, of those whose names come before a dot the one with the longest, and what the tensor is called in it.
  const auto layer_of = [&layers](absl::string_view tensor) -> std::pair<const Layer*, absl::string_view> {
    for (std::size_t dot = tensor.size(); (dot = tensor.substr(0, dot).rfind('.')) != tensor.npos;) {
      const auto found = layers.find(tensor.substr(0, dot));
      if (found != layers.end()) return {found->second, tensor.substr(dot + 1)};
    }
    return {nullptr, ""};
  };
  std::vector<ParamGroup> groups;
  for (const TensorSpec& tensor : spec.tensors()) {
    ParamGroup& group = groups.emplace_back();
    // Nothing stands before the first tensor; if something did, it would have to belong to someone.
    group.begin = groups.size() == 1 ? 0 : tensor.offset();
    if (groups.size() > 1) groups[groups.size() - 2].end = group.begin;
    group.end = spec.elements();
    group.settings.average = tensor.average();
    const auto [layer, own_name] = layer_of(tensor.name());
    if (layer == nullptr) continue;
    if (absl::StrContains(own_name, "weight")) {
      if (layer->has_lr_mult()) group.settings.lr_mult = layer->lr_mult();
      if (layer->has_decay_mult()) group.settings.decay_mult = layer->decay_mult();
    } else if (absl::StrContains(own_name, "bias")) {
      if (layer->has_bias_lr_mult()) group.settings.lr_mult = layer->bias_lr_mult();
      if (layer->has_bias_decay_mult()) group.settings.decay_mult = layer->bias_decay_mult();
    }
  }
  return groups;
}

}  // namespace downpour
