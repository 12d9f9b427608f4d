#include "worker/formats/onnx_reader.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace downpour::formats {
namespace {

constexpr int kBroken = -2;  // what comes of a mistake that was told

std::string Shown(const std::string& name) { return absl::CHexEscape(name.substr(0, 100)); }

}  // namespace

OnnxReader::OnnxReader(const onnx::GraphProto& graph, const std::string& file, const kernels::Shape& sample,
                       kernels::Device& device)
    : graph_(graph), device_(device), mistakes_(file), outline_{.sample = sample} {
  for (const onnx::TensorProto& constant : graph.initializer()) constants_[constant.name()] = &constant;
  for (const onnx::NodeProto& node : graph.node()) {
    for (const std::string& input : node.input()) ++takers_[input];
  }
  for (const onnx::ValueInfoProto& output : graph.output()) ++takers_[output.name()];
  for (const onnx::ValueInfoProto& input : graph.input()) {
    if (constants_.count(input.name()) == 0) sources_[input.name()] = {};
  }
}

void OnnxReader::Begin(const onnx::NodeProto& node) {
  node_ = &node;
  for (const std::string& output : node.output()) sources_[output] = {.place = kBroken};
  if (node.op_type() == "Constant" && node.output_size() == 1 && Find("value") != nullptr) {
    constants_[node.output(0)] = &Find("value")->t();
  }
}

const onnx::AttributeProto* OnnxReader::Find(const std::string& name) const {
  for (const onnx::AttributeProto& attribute : node_->attribute()) {
    if (attribute.name() == name) return &attribute;
  }
  return nullptr;
}

std::int64_t OnnxReader::Int(const std::string& name, std::int64_t otherwise) const {
  const onnx::AttributeProto* const found = Find(name);
  return found == nullptr ? otherwise : found->i();
}

float OnnxReader::Float(const std::string& name, float otherwise) const {
  const onnx::AttributeProto* const found = Find(name);
  return found == nullptr ? otherwise : found->f();
}

std::string OnnxReader::Text(const std::string& name, const std::string& otherwise) const {
  const onnx::AttributeProto* const found = Find(name);
  return found == nullptr ? otherwise : found->s();
}

std::vector<std::int64_t> OnnxReader::Ints(const std::string& name, std::size_t size, std::int64_t otherwise) const {
  const onnx::AttributeProto* const found = Find(name);
  if (found == nullptr) return std::vector<std::int64_t>(size, otherwise);
  return {found->ints().begin(), found->ints().end()};
}

const onnx::TensorProto* OnnxReader::ConstantAt(int input) const {
  if (input >= node_->input_size()) return nullptr;
  const auto found = constants_.find(node_->input(input));
  return found == constants_.end() ? nullptr : found->second;
}

std::optional<std::vector<float>> OnnxReader::Floats(const onnx::TensorProto& tensor) {
  auto values = FloatsOf(tensor);
  if (values.ok()) return *std::move(values);
  Mistake(absl::StrCat("its constant '", Shown(tensor.name()), "' ", values.status().message()));
  return std::nullopt;
}

std::optional<std::vector<std::int64_t>> OnnxReader::Integers(const onnx::TensorProto& tensor) {
  auto values = IntegersOf(tensor);
  if (values.ok()) return *std::move(values);
  Mistake(absl::StrCat("its constant '", Shown(tensor.name()), "' ", values.status().message()));
  return std::nullopt;
}

const OnnxSource* OnnxReader::SourceAt(int input) {
  if (input >= node_->input_size()) {
    Mistake(absl::StrCat("has ", node_->input_size(), " inputs"));
    return nullptr;
  }
  const auto found = sources_.find(node_->input(input));
  if (found == sources_.end()) {
    Mistake(constants_.count(node_->input(input)) > 0
                ? absl::StrCat("takes a constant, '", Shown(node_->input(input)), "', as values")
                : absl::StrCat("no node before it gives '", Shown(node_->input(input)), "'"));
    return nullptr;
  }
  return found->second.place == kBroken ? nullptr : &found->second;
}

kernels::Shape OnnxReader::ShapeOf(const OnnxSource& source) const {
  return source.place == worker::kSamples ? outline_.sample : outline_.layers[source.place].output;
}

bool OnnxReader::IsAnswer() const {
  if (node_->output_size() != 1 || graph_.output_size() == 0 || graph_.output(0).name() != node_->output(0)) return false;
  return takers_.at(node_->output(0)) == 1;
}

bool OnnxReader::IsTakenOnce(int input) const {
  const auto found = takers_.find(node_->input(input));
  return found != takers_.end() && found->second == 1;
}

std::string OnnxReader::NameFor(const std::string& weight) {
  std::string name = node_->name().empty() ? (node_->output_size() > 0 ? node_->output(0) : "layer") : node_->name();
  if (absl::EndsWith(weight, ".weight")) name = weight.substr(0, weight.size() - std::string(".weight").size());
  return names_.Make(name);
}

bool OnnxReader::AddLayer(Layer config, const std::vector<OnnxSource>& inputs) {
  std::vector<int> places;
  for (const OnnxSource& input : inputs) {
    if (input.padding != 0) {
      Mistake("takes values that a Pad was to enlarge, which here only windows do");
      return false;
    }
    places.push_back(input.place);
    config.add_inputs(input.place == worker::kSamples ? std::string(worker::kSamplesName)
                                                      : job_.net(input.place).name());
  }
  if (absl::Status status = worker::AppendLayer(config, places, device_, &outline_); !status.ok()) {
    Mistake(std::string(status.message()));
    return false;
  }
  *job_.add_net() = std::move(config);
  Give(Last());
  return true;
}

void OnnxReader::Give(const OnnxSource& source) {
  if (node_->output_size() > 0) sources_[node_->output(0)] = source;
}

OnnxSource OnnxReader::Materialized(const OnnxSource& source) {
  const kernels::Shape shape = ShapeOf(source);
  if (!source.flattened || (shape.height == 1 && shape.width == 1)) return source;
  return Add("flatten", {{.place = source.place}}, [](Layer*) {}) ? Last() : source;
}

void OnnxReader::SetParameter(const std::string& tensor, OnnxWeight weight) {
  weights_[absl::StrCat(job_.net(job_.net_size() - 1).name(), ".", tensor)] = weight;
}

void OnnxReader::Mistake(const std::string& what) {
  const std::string& name =
      node_->name().empty() && node_->output_size() > 0 ? node_->output(0) : node_->name();
  mistakes_.Add(0, absl::StrCat("node ", Shown(name), " (", Shown(node_->op_type()), "): ", what));
}

}  // namespace downpour::formats
