#include "worker/formats/caffe_builder.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "worker/net_graph.h"

namespace downpour::formats {
namespace {

const std::string kSamples(worker::kSamplesName);
constexpr char kBroken[] = "";  // the maker of what comes of a mistake that was told

std::string Shown(const std::string& name) { return absl::CHexEscape(name.substr(0, 100)); }

}  // namespace

CaffeBuilder::CaffeBuilder(const std::string& file, google::protobuf::RepeatedPtrField<Layer>* net)
    : net_(*net), mistakes_(file) {}

void CaffeBuilder::Begin(const caffe::LayerParameter& layer, int line) {
  layer_ = &layer;
  line_ = line;
}

Layer* CaffeBuilder::Add(const std::string& type, int inputs) {
  if (layer_->bottom_size() < inputs) {
    Mistake("has no bottom");
    return nullptr;
  }
  std::vector<std::string> from;
  for (int i = 0; i < inputs; ++i) {
    from.push_back(Resolve(layer_->bottom(i)));
    if (from.back().empty()) {
      Break();
      return nullptr;
    }
    ++takers_[from.back()];
  }
  const std::string before = net_.empty() ? kSamples : net_.rbegin()->name();
  Layer* const added = net_.Add();
  added->set_name(names_.Make(layer_->name()));
  added->set_type(type);
  if (from.size() != 1 || from[0] != before) {
    for (std::string& name : from) added->add_inputs(std::move(name));
  }
  if (layer_->top_size() > 0) SetTop(layer_->top(0), added->name());
  return added;
}

void CaffeBuilder::Break() {
  for (const std::string& top : layer_->top()) SetTop(top, kBroken);
}

Layer* CaffeBuilder::AddOfAll(const std::string& type) { return Add(type, std::max(1, layer_->bottom_size())); }

void CaffeBuilder::Alias(const std::string& top, const std::string& bottom) {
  if (IsLabels(bottom)) return SetLabels(top);
  makers_[top] = Resolve(bottom);
}

Layer* CaffeBuilder::MakerOf(const std::string& bottom) {
  const auto found = makers_.find(bottom);
  if (found == makers_.end() || takers_[found->second] > 0) return nullptr;
  const auto layer = std::ranges::find_if(net_, [&](const Layer& each) { return each.name() == found->second; });
  return layer == net_.end() ? nullptr : &*layer;
}

void CaffeBuilder::SetTop(const std::string& top, const std::string& layer) {
  labels_.erase(top);
  replaced_.erase(top);
  makers_[top] = layer;
}

void CaffeBuilder::ReplaceTops(const std::string& top, const std::string& layer) {
  for (auto maker = makers_.begin(); maker != makers_.end();) {
    if (maker->second == layer) {
      replaced_[maker->first] = layer_->name();
      maker = makers_.erase(maker);
    } else {
      ++maker;
    }
  }
  SetTop(top, layer);
}

void CaffeBuilder::SetSamples(const std::string& top) { SetTop(top, kSamples); }

void CaffeBuilder::SetLabels(const std::string& top) {
  makers_.erase(top);
  labels_.insert(top);
}

void CaffeBuilder::AddBlobs(const Layer& layer, std::vector<std::string> tensors, bool may_lack_bias) {
  blobs_.push_back({layer_->name(), layer.name(), std::move(tensors), may_lack_bias});
}

void CaffeBuilder::Mistake(const std::string& what) {
  if (layer_ == nullptr) return mistakes_.Add(0, what);
  mistakes_.Add(line_, absl::StrCat("layer ", Shown(layer_->name()), " (", Shown(layer_->type()), "): ", what));
}

void CaffeBuilder::Note(const std::string& what) {
  notes_.push_back(absl::StrCat("layer ", Shown(layer_->name()), " (", Shown(layer_->type()), "): ", what));
}

std::string CaffeBuilder::Resolve(const std::string& bottom) {
  const auto found = makers_.find(bottom);
  if (found != makers_.end()) return found->second;
  if (const auto by = replaced_.find(bottom); by != replaced_.end()) {
    Mistake(absl::StrCat("takes '", Shown(bottom), "', which here is one layer with ", Shown(by->second), " behind it"));
    return "";
  }
  Mistake(labels_.count(bottom) > 0
              ? absl::StrCat("takes labels, '", Shown(bottom), "', which here are only for losses")
              : absl::StrCat("no layer before it has the top '", Shown(bottom), "'"));
  return "";
}

}  // namespace downpour::formats
