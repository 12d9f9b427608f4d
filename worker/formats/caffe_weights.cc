#include "worker/formats/caffe_weights.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/formats/mistakes.h"

namespace downpour::formats {
namespace {

constexpr char kScale[] = "scale";

// A blob that is this parameter.
struct Match {
  const caffe::BlobProto* blob;
  const worker::Parameter* parameter;
  float factor = 1;
};

std::size_t SizeOf(const caffe::BlobProto& blob) {
  return static_cast<std::size_t>(blob.data_size()) + static_cast<std::size_t>(blob.double_data_size());
}

// Floats or doubles, not both.
bool HasOneKind(const caffe::BlobProto& blob) { return blob.data_size() == 0 || blob.double_data_size() == 0; }

float At(const caffe::BlobProto& blob, int i) {
  return blob.data_size() > 0 ? blob.data(i) : static_cast<float>(blob.double_data(i));
}

// Sides other than 1: a row of 10 may be 10, or 1x1x1x10.
std::vector<std::int64_t> Sides(const caffe::BlobProto& blob) {
  std::vector<std::int64_t> sides;
  if (blob.has_shape()) {
    sides.assign(blob.shape().dim().begin(), blob.shape().dim().end());
  } else {
    sides = {blob.num(), blob.channels(), blob.height(), blob.width()};
  }
  std::erase(sides, 1);
  return sides;
}

bool Fits(const caffe::BlobProto& blob, const worker::Parameter& parameter) {
  std::vector<std::int64_t> sides(parameter.shape.begin(), parameter.shape.end());
  std::erase(sides, 1);
  return Sides(blob) == sides && SizeOf(blob) == parameter.size && HasOneKind(blob);
}

class Matcher {
 public:
  Matcher(const caffe::NetParameter& model, const std::string& file, const worker::NetOutline& outline)
      : mistakes_(file), outline_(outline) {
    for (const caffe::LayerParameter& layer : model.layer()) {
      if (layer.blobs_size() > 0) layers_[layer.name()] = &layer;
    }
    for (const worker::Parameter& parameter : outline.parameters) parameters_[parameter.name] = &parameter;
  }

  void Add(const CaffeBlobs& blobs) {
    const auto found = layers_.find(blobs.caffe_layer);
    const std::string name = blobs.caffe_layer.substr(0, 100);
    if (found == layers_.end()) return mistakes_.Add(0, absl::StrCat("has no parameters of layer ", name));
    const caffe::LayerParameter& layer = *found->second;
    std::vector<std::string> tensors = blobs.tensors;
    if (blobs.may_lack_bias && layer.blobs_size() + 1 == static_cast<int>(tensors.size())) {
      covered_.insert(absl::StrCat(blobs.layer, ".", tensors.back()));
      tensors.pop_back();
    }
    if (layer.blobs_size() != static_cast<int>(tensors.size())) {
      return mistakes_.Add(0, absl::StrCat("layer ", name, " has ", layer.blobs_size(), " blobs; the net has ",
                                           tensors.size()));
    }
    float factor = 1;
    if (tensors.back() == kScale) {
      const caffe::BlobProto& scale = layer.blobs(layer.blobs_size() - 1);
      if (SizeOf(scale) != 1 || !HasOneKind(scale)) return mistakes_.Add(0, absl::StrCat("layer ", name, ": its scale is not one number"));
      factor = At(scale, 0) == 0 ? 0 : 1 / At(scale, 0);
      tensors.pop_back();
    }
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const auto parameter = parameters_.find(absl::StrCat(blobs.layer, ".", tensors[i]));
      if (parameter == parameters_.end()) {
        mistakes_.Add(0, absl::StrCat("layer ", name, ": the net's layer has no ", tensors[i]));
        continue;
      }
      const caffe::BlobProto& blob = layer.blobs(static_cast<int>(i));
      if (!Fits(blob, *parameter->second)) {
        mistakes_.Add(0, absl::StrCat("layer ", name, ": its ", tensors[i], " is ", absl::StrJoin(Sides(blob), "x"), " of ",
                                      SizeOf(blob), " values", HasOneKind(blob) ? "" : ", floats and doubles both",
                                      "; the net has ", absl::StrJoin(parameter->second->shape, "x")));
      }
      covered_.insert(parameter->first);
      matches_.push_back({&blob, parameter->second, factor});
    }
  }

  absl::StatusOr<std::vector<float>> Values() {
    // A batch_norm that no Scale follows has weights of 1 and biases of 0.
    std::set<std::string> plain;
    for (const worker::LayerOutline& layer : outline_.layers) {
      if (layer.type == "batch_norm") plain.insert({layer.name + ".weight", layer.name + ".bias"});
    }
    for (const worker::Parameter& parameter : outline_.parameters) {
      if (covered_.count(parameter.name) == 0 && plain.count(parameter.name) == 0) {
        mistakes_.Add(0, absl::StrCat("has nothing for ", parameter.name));
      }
    }
    if (absl::Status status = mistakes_.ToStatus(); !status.ok()) return status;
    std::vector<float> values(outline_.parameter_count);
    for (const worker::Parameter& parameter : outline_.parameters) {
      if (covered_.count(parameter.name) > 0 || parameter.name.ends_with(".bias")) continue;
      std::fill_n(values.begin() + static_cast<std::ptrdiff_t>(parameter.offset), parameter.size, 1.0f);
    }
    for (const Match& match : matches_) {
      for (std::size_t i = 0; i < match.parameter->size; ++i) {
        values[match.parameter->offset + i] = match.factor * At(*match.blob, static_cast<int>(i));
      }
    }
    return values;
  }

 private:
  Mistakes mistakes_;
  const worker::NetOutline& outline_;
  std::map<std::string, const caffe::LayerParameter*> layers_;
  std::map<std::string, const worker::Parameter*> parameters_;
  std::set<std::string> covered_;
  std::vector<Match> matches_;
};

}  // namespace

absl::StatusOr<std::vector<float>> FromCaffeModel(const caffe::NetParameter& model, const std::string& file,
                                                  const std::vector<CaffeBlobs>& blobs,
                                                  const worker::NetOutline& outline) {
  Matcher matcher(model, file, outline);
  for (const CaffeBlobs& each : blobs) matcher.Add(each);
  return matcher.Values();
}

}  // namespace downpour::formats
