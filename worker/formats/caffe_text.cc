#include "worker/formats/caffe_text.h"

#include <algorithm>
#include <utility>

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/text_format.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "worker/formats/mistakes.h"

namespace downpour::formats {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::TextFormat;

// A message within a message within ... in text.
constexpr int kMostNested = 32;

class Collector final : public google::protobuf::io::ErrorCollector {
 public:
  Collector(Mistakes* mistakes, std::vector<CaffeUnknownKey>* unknown_keys)
      : mistakes_(*mistakes), unknown_keys_(*unknown_keys) {}

  void AddError(int line, int, const std::string& message) override { mistakes_.Add(line + 1, message); }
  void AddWarning(int line, int column, const std::string& message) override {
    const bool of_net = absl::StrContains(message, absl::StrCat("\"", caffe::NetParameter::descriptor()->full_name(), "\""));
    unknown_keys_.push_back({{line + 1, column + 1}, message, of_net});
  }

 private:
  Mistakes& mistakes_;
  std::vector<CaffeUnknownKey>& unknown_keys_;
};

absl::Status Parse(const std::string& text, const std::string& file, TextFormat::ParseInfoTree* places, Message* message,
                   std::vector<CaffeUnknownKey>* unknown_keys) {
  Mistakes mistakes(file);
  Collector collector(&mistakes, unknown_keys);
  TextFormat::Parser parser;
  parser.RecordErrorsTo(&collector);
  parser.WriteLocationsTo(places);
  parser.AllowUnknownField(true);
  parser.SetRecursionLimit(kMostNested);
  if (!parser.ParseFromString(text, message) && mistakes.empty()) mistakes.Add(0, "is no text of Caffe's");
  return mistakes.ToStatus();
}

constexpr std::pair<caffe::V1LayerParameter::LayerType, const char*> kOldTypes[] = {
    {caffe::V1LayerParameter::ACCURACY, "Accuracy"},
    {caffe::V1LayerParameter::BNLL, "BNLL"},
    {caffe::V1LayerParameter::CONCAT, "Concat"},
    {caffe::V1LayerParameter::CONVOLUTION, "Convolution"},
    {caffe::V1LayerParameter::DATA, "Data"},
    {caffe::V1LayerParameter::DROPOUT, "Dropout"},
    {caffe::V1LayerParameter::EUCLIDEAN_LOSS, "EuclideanLoss"},
    {caffe::V1LayerParameter::FLATTEN, "Flatten"},
    {caffe::V1LayerParameter::HDF5_DATA, "HDF5Data"},
    {caffe::V1LayerParameter::HDF5_OUTPUT, "HDF5Output"},
    {caffe::V1LayerParameter::IM2COL, "Im2col"},
    {caffe::V1LayerParameter::IMAGE_DATA, "ImageData"},
    {caffe::V1LayerParameter::INFOGAIN_LOSS, "InfogainLoss"},
    {caffe::V1LayerParameter::INNER_PRODUCT, "InnerProduct"},
    {caffe::V1LayerParameter::LRN, "LRN"},
    {caffe::V1LayerParameter::MULTINOMIAL_LOGISTIC_LOSS, "MultinomialLogisticLoss"},
    {caffe::V1LayerParameter::POOLING, "Pooling"},
    {caffe::V1LayerParameter::RELU, "ReLU"},
    {caffe::V1LayerParameter::SIGMOID, "Sigmoid"},
    {caffe::V1LayerParameter::SOFTMAX, "Softmax"},
    {caffe::V1LayerParameter::SOFTMAX_LOSS, "SoftmaxWithLoss"},
    {caffe::V1LayerParameter::SPLIT, "Split"},
    {caffe::V1LayerParameter::TANH, "TanH"},
    {caffe::V1LayerParameter::WINDOW_DATA, "WindowData"},
    {caffe::V1LayerParameter::ELTWISE, "Eltwise"},
    {caffe::V1LayerParameter::POWER, "Power"},
    {caffe::V1LayerParameter::SIGMOID_CROSS_ENTROPY_LOSS, "SigmoidCrossEntropyLoss"},
    {caffe::V1LayerParameter::HINGE_LOSS, "HingeLoss"},
    {caffe::V1LayerParameter::MEMORY_DATA, "MemoryData"},
    {caffe::V1LayerParameter::ARGMAX, "ArgMax"},
    {caffe::V1LayerParameter::THRESHOLD, "Threshold"},
    {caffe::V1LayerParameter::DUMMY_DATA, "DummyData"},
    {caffe::V1LayerParameter::SLICE, "Slice"},
    {caffe::V1LayerParameter::MVN, "MVN"},
    {caffe::V1LayerParameter::ABSVAL, "AbsVal"},
    {caffe::V1LayerParameter::SILENCE, "Silence"},
    {caffe::V1LayerParameter::CONTRASTIVE_LOSS, "ContrastiveLoss"},
    {caffe::V1LayerParameter::EXP, "Exp"},
    {caffe::V1LayerParameter::DECONVOLUTION, "Deconvolution"},
};

// Moves what is the same in both: bottoms, tops, rules, blobs and the messages of types.
void MoveFields(caffe::V1LayerParameter* from, caffe::LayerParameter* to) {
  std::vector<const FieldDescriptor*> fields;
  from->GetReflection()->ListFields(*from, &fields);
  for (const FieldDescriptor* field : fields) {
    const FieldDescriptor* const target = to->GetDescriptor()->FindFieldByName(field->name());
    if (target == nullptr || target->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE ||
        field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || field->message_type() != target->message_type()) {
      continue;
    }
    if (field->is_repeated()) {
      for (int i = 0; i < from->GetReflection()->FieldSize(*from, field); ++i) {
        Message* const added = to->GetReflection()->AddMessage(to, target);
        added->GetReflection()->Swap(added, from->GetReflection()->MutableRepeatedMessage(from, field, i));
      }
    } else {
      Message* const there = to->GetReflection()->MutableMessage(to, target);
      there->GetReflection()->Swap(there, from->GetReflection()->MutableMessage(from, field));
    }
  }
}

void Upgrade(caffe::V1LayerParameter* old, caffe::LayerParameter* layer) {
  layer->set_name(old->name());
  layer->set_type(caffe::V1LayerParameter::LayerType_Name(old->type()));
  for (const auto& [type, name] : kOldTypes) {
    if (type == old->type()) layer->set_type(name);
  }
  layer->mutable_bottom()->Swap(old->mutable_bottom());
  layer->mutable_top()->Swap(old->mutable_top());
  layer->mutable_loss_weight()->Swap(old->mutable_loss_weight());
  const int params = std::max({old->param_size(), old->blobs_lr_size(), old->weight_decay_size()});
  for (int i = 0; i < params; ++i) {
    caffe::ParamSpec* const param = layer->add_param();
    if (i < old->param_size()) param->set_name(old->param(i));
    if (i < old->blobs_lr_size()) param->set_lr_mult(old->blobs_lr(i));
    if (i < old->weight_decay_size()) param->set_decay_mult(old->weight_decay(i));
  }
  MoveFields(old, layer);
}

// What has only one of `layer` and `layers`, as Caffe wants it.
bool UpgradeLayers(caffe::NetParameter* net) {
  if (net->layers_size() > 0 && net->layer_size() > 0) return false;
  for (caffe::V1LayerParameter& old : *net->mutable_layers()) Upgrade(&old, net->add_layer());
  net->clear_layers();
  return true;
}

}  // namespace

absl::StatusOr<CaffeText> ParseCaffeNet(const std::string& text, const std::string& file) {
  CaffeText parsed{.file = file};
  TextFormat::ParseInfoTree places;
  if (absl::Status status = Parse(text, file, &places, &parsed.net, &parsed.unknown_keys); !status.ok()) return status;
  for (const char* const name : {"layer", "layers"}) {
    const FieldDescriptor* const field = parsed.net.GetDescriptor()->FindFieldByName(name);
    const int size = parsed.net.GetReflection()->FieldSize(parsed.net, field);
    for (int i = 0; i < size; ++i) {
      const TextFormat::ParseLocation at = places.GetLocation(field, i);
      parsed.places.push_back({at.line + 1, at.column + 1});
    }
  }
  auto upgraded = CaffeTextOf(std::move(parsed.net), file);
  if (!upgraded.ok()) return upgraded;
  upgraded->places = std::move(parsed.places);
  upgraded->unknown_keys = std::move(parsed.unknown_keys);
  return upgraded;
}

absl::StatusOr<CaffeText> CaffeTextOf(caffe::NetParameter net, const std::string& file) {
  if (!UpgradeLayers(&net)) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": has both layer and layers; Caffe wants one of them"));
  }
  return CaffeText{.file = file, .net = std::move(net)};
}

absl::StatusOr<caffe::SolverParameter> ParseCaffeSolver(const std::string& text, const std::string& file) {
  caffe::SolverParameter solver;
  TextFormat::ParseInfoTree places;
  std::vector<CaffeUnknownKey> unknown_keys;
  if (absl::Status status = Parse(text, file, &places, &solver, &unknown_keys); !status.ok()) return status;
  Mistakes mistakes(file);
  for (const CaffeUnknownKey& key : unknown_keys) mistakes.Add(key.place.line, key.sentence);
  if (absl::Status status = mistakes.ToStatus(); !status.ok()) return status;
  return solver;
}

absl::StatusOr<caffe::NetParameter> ParseCaffeModel(absl::string_view bytes, const std::string& file) {
  google::protobuf::io::ArrayInputStream array(bytes.data(), static_cast<int>(bytes.size()));
  google::protobuf::io::CodedInputStream in(&array);
  in.SetRecursionLimit(kMostNested);
  caffe::NetParameter net;
  if (!net.ParseFromCodedStream(&in) || !in.ConsumedEntireMessage()) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": is no .caffemodel, or damaged"));
  }
  if (!UpgradeLayers(&net)) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": has both layer and layers; Caffe wants one of them"));
  }
  return net;
}

}  // namespace downpour::formats
