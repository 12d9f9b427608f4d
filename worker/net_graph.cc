#include "worker/net_graph.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <string>
#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace downpour::worker {
namespace {

using Layers = google::protobuf::RepeatedPtrField<downpour::Layer>;

absl::StatusOr<std::unordered_map<std::string, int>> PlacesByName(const Layers& layers) {
  std::unordered_map<std::string, int> places;
  for (int i = 0; i < layers.size(); ++i) {
    const std::string& name = layers[i].name();
    if (name.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the layer after ", i == 0 ? "the input" : "layer " + layers[i - 1].name(), " has no name"));
    }
    if (name == kSamplesName) {
      return absl::InvalidArgumentError(
          absl::StrCat("a layer is called ", name, ", which in a layer's inputs stands for the samples"));
    }
    if (!places.emplace(name, i).second) {
      return absl::InvalidArgumentError(absl::StrCat("two layers are called ", name, "; each needs a name of its own"));
    }
  }
  return places;
}

// By layer, the places of those whose values it takes.
absl::StatusOr<std::vector<std::vector<int>>> InputsOf(const Layers& layers) {
  const auto places = PlacesByName(layers);
  if (!places.ok()) return places.status();
  std::vector<std::vector<int>> inputs(layers.size());
  for (int i = 0; i < layers.size(); ++i) {
    if (layers[i].inputs().empty()) inputs[i].push_back(i == 0 ? kSamples : i - 1);
    for (const std::string& name : layers[i].inputs()) {
      const auto found = places->find(name);
      if (name != kSamplesName && found == places->end()) {
        return absl::InvalidArgumentError(
            absl::StrCat("layer ", layers[i].name(), " takes its input from ", name, ", but no layer is called so"));
      }
      inputs[i].push_back(name == kSamplesName ? kSamples : found->second);
    }
  }
  return inputs;
}

// Each of the layers without a place waits for another such one: going from one to the next comes round.
absl::Status Cycle(const Layers& layers, const std::vector<std::vector<int>>& inputs, const std::vector<int>& place) {
  const auto waits_for = [&](int layer) {
    return *std::ranges::find_if(inputs[layer], [&](int input) { return input != kSamples && place[input] < 0; });
  };
  std::vector<int> path;
  int layer = static_cast<int>(std::ranges::find(place, -1) - place.begin());
  while (std::ranges::find(path, layer) == path.end()) {
    path.push_back(layer);
    layer = waits_for(layer);
  }
  path.erase(path.begin(), std::ranges::find(path, layer));
  path.push_back(layer);
  return absl::InvalidArgumentError(
      absl::StrCat("layers take their inputs from each other in a circle: ",
                   absl::StrJoin(path, ", from ", [&](std::string* out, int at) { out->append(layers[at].name()); })));
}

}  // namespace

absl::StatusOr<std::vector<GraphNode>> OrderLayers(const Layers& layers) {
  auto inputs = InputsOf(layers);
  if (!inputs.ok()) return inputs.status();
  std::vector<int> waiting_for(layers.size(), 0);
  std::vector<std::vector<int>> taken_by(layers.size());
  std::priority_queue<int, std::vector<int>, std::greater<>> ready;
  for (int i = 0; i < layers.size(); ++i) {
    for (const int input : (*inputs)[i]) {
      if (input == kSamples) continue;
      ++waiting_for[i];
      taken_by[input].push_back(i);
    }
    if (waiting_for[i] == 0) ready.push(i);
  }

  std::vector<GraphNode> order;
  std::vector<int> place(layers.size(), -1);
  while (!ready.empty()) {
    const int layer = ready.top();
    ready.pop();
    place[layer] = static_cast<int>(order.size());
    GraphNode node{.layer = layer};
    for (const int input : (*inputs)[layer]) node.inputs.push_back(input == kSamples ? kSamples : place[input]);
    order.push_back(std::move(node));
    for (const int taker : taken_by[layer]) {
      if (--waiting_for[taker] == 0) ready.push(taker);
    }
  }
  if (static_cast<int>(order.size()) < layers.size()) return Cycle(layers, *inputs, place);
  return order;
}

}  // namespace downpour::worker
