#include "worker/formats/caffe_net.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/formats/caffe_data.h"
#include "worker/formats/caffe_layers.h"
#include "worker/formats/net_ends.h"

namespace downpour::formats {
namespace {

bool Has(const google::protobuf::RepeatedPtrField<std::string>& all, const std::string& one) {
  return std::ranges::find(all, one) != all.end();
}

bool Meets(const caffe::NetState& state, const caffe::NetStateRule& rule) {
  if (rule.has_phase() && rule.phase() != state.phase()) return false;
  if (rule.has_min_level() && state.level() < rule.min_level()) return false;
  if (rule.has_max_level() && state.level() > rule.max_level()) return false;
  return std::ranges::all_of(rule.stage(), [&](const std::string& stage) { return Has(state.stage(), stage); }) &&
         std::ranges::none_of(rule.not_stage(), [&](const std::string& stage) { return Has(state.stage(), stage); });
}

bool IsIncluded(const caffe::LayerParameter& layer, const caffe::NetState& state) {
  const auto meets = [&state](const caffe::NetStateRule& rule) { return Meets(state, rule); };
  if (layer.include_size() > 0) return std::ranges::any_of(layer.include(), meets);
  return std::ranges::none_of(layer.exclude(), meets);
}

// `input: "data"` before the layers, as a layer.
caffe::LayerParameter InputLayer(const caffe::NetParameter& net) {
  caffe::LayerParameter layer;
  layer.set_name("input");
  layer.set_type("Input");
  *layer.mutable_top() = net.input();
  for (const caffe::BlobShape& shape : net.input_shape()) *layer.mutable_input_param()->add_shape() = shape;
  if (net.input_shape_size() == 0 && net.input_dim_size() >= 4) {
    caffe::BlobShape* const shape = layer.mutable_input_param()->add_shape();
    for (int i = 0; i < 4; ++i) shape->add_dim(net.input_dim(i));
  }
  return layer;
}

void AddLayer(const caffe::LayerParameter& layer, CaffeBuilder* builder) {
  const CaffeLayerType* const type = FindCaffeLayerType(layer.type());
  if (type == nullptr) {
    builder->Mistake("this type is not known");
    return builder->Break();
  }
  const bool detached = std::ranges::any_of(layer.propagate_down(), [](bool down) { return !down; });
  if (detached) builder->Mistake("propagate_down: false");
  const bool loss = type->type.find("Loss") != std::string_view::npos;
  const bool weighted = std::ranges::any_of(layer.loss_weight(), [](float weight) { return weight != 0; });
  if (!loss && weighted && layer.type() != "Accuracy") builder->Mistake("loss_weight, though it is no loss");
  type->add(*builder, layer);
}

std::string KnownTypes() {
  return absl::StrJoin(CaffeLayerTypes(), ", ",
                       [](std::string* out, const CaffeLayerType& type) { out->append(type.type); });
}

// The layer whose key this is, if it is one's.
const caffe::LayerParameter* LayerOf(const CaffeText& text, const CaffeUnknownKey& key) {
  const auto after = std::ranges::upper_bound(text.places, key.place);
  if (key.of_net || after == text.places.begin()) return nullptr;
  return &text.net.layer(static_cast<int>(after - text.places.begin()) - 1);
}

// Keys that are not known, but for those of layers that are left out, or whose type is not known either.
void TellUnknownKeys(const CaffeText& text, const caffe::NetState& state, CaffeBuilder* builder) {
  for (const CaffeUnknownKey& key : text.unknown_keys) {
    const caffe::LayerParameter* const layer = LayerOf(text, key);
    const bool counts = layer == nullptr || (IsIncluded(*layer, state) && FindCaffeLayerType(layer->type()) != nullptr);
    if (counts) builder->MistakeAt(key.place.line, key.sentence);
  }
}

}  // namespace

std::string CaffeDatabase(const CaffeText& text, const caffe::NetState& state) {
  for (const caffe::LayerParameter& layer : text.net.layer()) {
    const bool lmdb = layer.data_param().backend() == caffe::DataParameter::LMDB;
    if (layer.type() == "Data" && lmdb && IsIncluded(layer, state)) return layer.data_param().source();
  }
  return "";
}

absl::StatusOr<CaffeNet> FromCaffeNet(const CaffeText& text, const CaffeNetOptions& options) {
  CaffeNet net;
  CaffeBuilder builder(text.file, net.job.mutable_net());
  const caffe::LayerParameter input = InputLayer(text.net);
  if (input.top_size() > 0) {
    builder.Begin(input, 0);
    AddLayer(input, &builder);
  }
  TellUnknownKeys(text, options.state, &builder);
  bool unknown = false;
  for (int i = 0; i < text.net.layer_size(); ++i) {
    const caffe::LayerParameter& layer = text.net.layer(i);
    if (!IsIncluded(layer, options.state)) continue;
    builder.Begin(layer, i < static_cast<int>(text.places.size()) ? text.places[i].line : 0);
    unknown |= FindCaffeLayerType(layer.type()) == nullptr;
    AddLayer(layer, &builder);
  }
  if (!options.shape.empty()) builder.data().shape = options.shape;
  caffe::NetState test;
  test.set_phase(caffe::TEST);
  FillData(builder, CaffeDatabase(text, test), &net.job);
  if (absl::Status status = builder.mistakes().ToStatus(); !status.ok()) {
    if (!unknown) return status;
    return absl::InvalidArgumentError(absl::StrCat(status.message(), "\nknown types: ", KnownTypes()));
  }
  if (net.job.data().shape().empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        text.file, ": does not say how large a sample is; --shape does, as in --shape 3,32,32"));
  }
  net.job.set_name(JobName(text.net.has_name() ? text.net.name() : "caffe"));
  net.job.set_workers(1);
  net.job.mutable_sync()->set_mode("bsp");
  net.blobs = builder.blobs();
  net.notes = builder.notes();
  if (absl::Status status = FinishNet(net.job.mutable_net(), &net.notes); !status.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(text.file, ": ", status.message()));
  }
  std::erase_if(net.blobs, [&](const CaffeBlobs& blobs) {
    return std::ranges::none_of(net.job.net(), [&](const Layer& layer) { return layer.name() == blobs.layer; });
  });
  return net;
}

}  // namespace downpour::formats
