#include "worker/formats/net_ends.h"

#include <algorithm>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "worker/net_graph.h"

namespace downpour::formats {
namespace {

bool IsLoss(const Layer& layer) { return absl::EndsWith(layer.type(), "_loss"); }

// Names its inputs, where it takes those of the layer before it.
void NameInputs(google::protobuf::RepeatedPtrField<Layer>* net) {
  for (int i = 0; i < net->size(); ++i) {
    if (net->at(i).inputs_size() == 0) {
      (*net)[i].add_inputs(i > 0 ? net->at(i - 1).name() : std::string(worker::kSamplesName));
    }
  }
}

// The opposite: only inputs that are not the layer before.
void ForgetInputs(google::protobuf::RepeatedPtrField<Layer>* net) {
  for (int i = 0; i < net->size(); ++i) {
    const std::string before = i > 0 ? net->at(i - 1).name() : std::string(worker::kSamplesName);
    if (net->at(i).inputs_size() == 1 && net->at(i).inputs(0) == before) (*net)[i].clear_inputs();
  }
}

// The loss of a net that has none.
void AddLoss(const std::string& answer, google::protobuf::RepeatedPtrField<Layer>* net, std::vector<std::string>* notes) {
  auto last = std::ranges::find_if(*net, [&](const Layer& layer) { return layer.name() == answer; });
  if (last == net->end()) last = net->end() - 1;
  const bool taken = std::ranges::any_of(*net, [&](const Layer& layer) {
    return std::ranges::find(layer.inputs(), last->name()) != layer.inputs().end();
  });
  if (last->type() == "softmax" && !taken) {
    last->set_type("softmax_loss");
    notes->push_back(absl::StrCat("layer ", last->name(), " is a softmax_loss now, for a net to train has a loss"));
    return;
  }
  std::string name = "loss";
  while (std::ranges::any_of(*net, [&](const Layer& layer) { return layer.name() == name; })) name += "_";
  const std::string from = last->name();
  Layer* const loss = net->Add();
  loss->set_name(name);
  loss->set_type("softmax_loss");
  loss->add_inputs(from);
  notes->push_back(absl::StrCat("layer ", name, ", a softmax_loss, was added, for a net to train has a loss"));
}

}  // namespace

absl::Status FinishNet(google::protobuf::RepeatedPtrField<Layer>* net, std::vector<std::string>* notes,
                       const std::string& answer) {
  if (net->empty()) return absl::InvalidArgumentError("has no layers");
  NameInputs(net);
  if (std::ranges::none_of(*net, IsLoss)) AddLoss(answer, net, notes);
  std::set<std::string> taken;
  std::vector<Layer> kept;
  for (int i = net->size(); i-- > 0;) {
    Layer& layer = (*net)[i];
    if (!IsLoss(layer) && taken.count(layer.name()) == 0) {
      notes->push_back(absl::StrCat("layer ", layer.name(), " is left out, for it leads to no loss"));
      continue;
    }
    taken.insert(layer.inputs().begin(), layer.inputs().end());
    kept.push_back(std::move(layer));
  }
  net->Clear();
  for (auto layer = kept.rbegin(); layer != kept.rend(); ++layer) *net->Add() = std::move(*layer);
  ForgetInputs(net);
  return worker::OrderLayers(*net).status();
}

}  // namespace downpour::formats
