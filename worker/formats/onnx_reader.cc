#include "worker/formats/onnx_reader.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace downpour::formats {
namespace {

constexpr int kBroken = -2;  // what comes of a mistake that was told

std::string Shown(const std::string& name) { return absl::CHexEscape(name.substr(0, 100)); }

}  // namespace

OnnxReader::OnnxReader(const onnx::GraphProto& graph, std::int64_t opset, const std::string& file,
                       const kernels::Shape& sample, kernels::Device& device)
    : graph_(graph), opset_(opset), device_(device), mistakes_(file), outline_{.sample = sample} {
  for (const onnx::TensorProto& constant : graph.initializer()) constants_[constant.name()] = &constant;
  for (const onnx::NodeProto& node : graph.node()) {
    if (node.op_type() != "Shape") {
      for (const std::string& input : node.input()) takers_[input].push_back(&node);
    }
    const onnx::AttributeProto* const value = OnnxAttributes(node).Find("value");
    if (node.op_type() == "Constant" && node.output_size() == 1 && value != nullptr) {
      constants_[node.output(0)] = &value->t();
    }
  }
  for (const onnx::ValueInfoProto& output : graph.output()) takers_[output.name()].push_back(nullptr);
  for (const onnx::ValueInfoProto& input : graph.input()) {
    if (constants_.count(input.name()) == 0) sources_[input.name()] = {};
  }
}

void OnnxReader::Begin(const onnx::NodeProto& node) {
  node_ = &node;
  const bool first_time = begun_.insert(&node).second;
  for (const std::string& output : node.output()) {
    if (output.empty()) continue;
    if (first_time && sources_.contains(output)) {
      Mistake(absl::StrCat("gives '", Shown(output), "', which something before it gives too"));
    }
    sources_[output] = {.place = kBroken};
  }
}

const onnx::AttributeProto* OnnxAttributes::Find(const std::string& name) const {
  for (const onnx::AttributeProto& attribute : node_.attribute()) {
    if (attribute.name() == name) return &attribute;
  }
  return nullptr;
}

std::int64_t OnnxAttributes::Int(const std::string& name, std::int64_t otherwise) const {
  const onnx::AttributeProto* const found = Find(name);
  return found == nullptr ? otherwise : found->i();
}

float OnnxAttributes::Float(const std::string& name, float otherwise) const {
  const onnx::AttributeProto* const found = Find(name);
  return found == nullptr ? otherwise : found->f();
}

std::string OnnxAttributes::Text(const std::string& name, const std::string& otherwise) const {
  const onnx::AttributeProto* const found = Find(name);
  return found == nullptr ? otherwise : found->s();
}

std::vector<std::int64_t> OnnxAttributes::Ints(const std::string& name, std::size_t size, std::int64_t otherwise) const {
  const onnx::AttributeProto* const found = Find(name);
  if (found == nullptr) return std::vector<std::int64_t>(size, otherwise);
  return {found->ints().begin(), found->ints().end()};
}

const onnx::TensorProto* OnnxReader::ConstantAt(int input) const {
  return input < node_->input_size() ? ConstantOf(node_->input(input)) : nullptr;
}

const onnx::TensorProto* OnnxReader::ConstantOf(const std::string& value) const {
  const auto found = constants_.find(value);
  return found == constants_.end() ? nullptr : found->second;
}

std::vector<const onnx::NodeProto*> OnnxReader::TakersOf(const std::string& value) const {
  const auto found = takers_.find(value);
  if (found == takers_.end() || std::ranges::find(found->second, nullptr) != found->second.end()) return {};
  return found->second;
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
  if (found->second.form > OnnxForm::kSteps) {
    Mistake("takes a sequence whose batch is not its first side");
    return nullptr;
  }
  return found->second.place == kBroken ? nullptr : &found->second;
}

const OnnxSource* OnnxReader::SourceOf(const std::string& value) const {
  const auto found = sources_.find(value);
  return found == sources_.end() || found->second.place == kBroken ? nullptr : &found->second;
}

kernels::Shape OnnxReader::ShapeOf(const OnnxSource& source) const {
  return source.place == worker::kSamples ? outline_.sample : outline_.layers[source.place].output;
}

bool OnnxReader::IsAnswer() const {
  if (node_->output_size() != 1 || graph_.output_size() == 0 || graph_.output(0).name() != node_->output(0)) return false;
  return takers_.at(node_->output(0)).size() == 1;
}

bool OnnxReader::IsTakenOnce(int input) const {
  const auto found = takers_.find(node_->input(input));
  return found != takers_.end() && found->second.size() == 1;
}

std::string OnnxReader::NameFor(const std::string& weight) {
  std::string name = node_->name().empty() ? (node_->output_size() > 0 ? node_->output(0) : "layer") : node_->name();
  for (const std::string& end : {std::string(".weight"), std::string(".weight_ih_l0")}) {
    if (absl::EndsWith(weight, end)) name = weight.substr(0, weight.size() - end.size());
  }
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

void OnnxReader::Give(const OnnxSource& source, int output) {
  if (node_->output_size() > output) sources_[node_->output(output)] = source;
}

bool OnnxReader::IsOfShapes() {
  if (node_->output_size() != 1 || node_->input_size() == 0) return false;
  if (node_->op_type() == "Shape") {
    shapes_.insert(node_->output(0));
    return true;
  }
  const auto is_shape = [this](const std::string& value) { return shapes_.contains(value); };
  if (std::ranges::none_of(node_->input(), is_shape)) return false;
  if (!std::ranges::all_of(node_->input(), [&](const std::string& value) {
        return is_shape(value) || ConstantOf(value) != nullptr;
      })) {
    return false;
  }
  if (node_->op_type() == "Expand" && IsConstant(0)) {
    constants_[node_->output(0)] = ConstantAt(0);
  } else {
    shapes_.insert(node_->output(0));
  }
  return true;
}

OnnxSource OnnxReader::Materialized(const OnnxSource& source) {
  const kernels::Shape shape = ShapeOf(source);
  if (source.form != OnnxForm::kRow || (shape.height == 1 && shape.width == 1)) return source;
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
