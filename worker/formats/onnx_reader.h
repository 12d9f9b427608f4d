// A job's net, made of an ONNX graph's nodes one after the other.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "worker/formats/job_names.h"
#include "worker/formats/mistakes.h"
#include "worker/formats/model.h"
#include "worker/formats/onnx.pb.h"

namespace downpour::formats {

// What sides values have in the file, behind the batch's.
enum class OnnxForm {
  kWhole,  // as many as in the net
  kRow,    // one, whatever shape they have in the net
  kSteps,  // two: {steps, features}, which in the net are steps x 1 x features
  // Of these, what is around a recurrent node; only that and what turns them take them.
  kStepsFirst,       // {steps, batch, features}
  kStepsDirections,  // {steps, 1, batch, features}
  kDirections,       // {1, batch, features}, of the last step
};

// What a node gives: the values of a layer, or the samples.
struct OnnxSource {
  int place = worker::kSamples;  // in the outline
  OnnxForm form = OnnxForm::kWhole;
  std::int64_t padding = 0;      // zeros around them, which the node that takes them is to add
};

// A tensor of the file that is a parameter.
struct OnnxWeight {
  const onnx::TensorProto* tensor = nullptr;  // null: all zeros
  bool transposed = false;                    // {inputs, outputs} in the file
  bool spread = false;                        // one value in the file, for all
  std::optional<std::vector<float>> made;     // of several constants, in place of a tensor
};

// Attributes of a node, or what they are where they are not there.
class OnnxAttributes {
 public:
  explicit OnnxAttributes(const onnx::NodeProto& node) : node_(node) {}

  std::int64_t Int(const std::string& name, std::int64_t otherwise) const;
  float Float(const std::string& name, float otherwise) const;
  std::string Text(const std::string& name, const std::string& otherwise) const;
  // `otherwise` twice or more, as `size` says, where they are not there.
  std::vector<std::int64_t> Ints(const std::string& name, std::size_t size, std::int64_t otherwise) const;
  const onnx::AttributeProto* Find(const std::string& name) const;

 private:
  const onnx::NodeProto& node_;
};

// One thread. The graph must outlive it. Mistakes and what is added are of the node begun last.
class OnnxReader {
 public:
  // `sample` is a shape that OutlineNet takes, `opset` the version of the operators.
  OnnxReader(const onnx::GraphProto& graph, std::int64_t opset, const std::string& file, const kernels::Shape& sample,
             kernels::Device& device);

  std::int64_t opset() const { return opset_; }

  void Begin(const onnx::NodeProto& node);
  const onnx::NodeProto& node() const { return *node_; }

  // Whether the node begun last computes nothing but shapes, of shapes and constants. What it gives is known as such then; a
  // constant that takes such a shape stays the constant.
  bool IsOfShapes();

  // Whether it was begun, by itself or with others.
  bool HasBegun(const onnx::NodeProto& node) const { return begun_.contains(&node); }

  // As OnnxAttributes has them.
  std::int64_t Int(const std::string& name, std::int64_t otherwise) const {
    return OnnxAttributes(*node_).Int(name, otherwise);
  }
  float Float(const std::string& name, float otherwise) const { return OnnxAttributes(*node_).Float(name, otherwise); }
  std::string Text(const std::string& name, const std::string& otherwise) const {
    return OnnxAttributes(*node_).Text(name, otherwise);
  }
  std::vector<std::int64_t> Ints(const std::string& name, std::size_t size, std::int64_t otherwise) const {
    return OnnxAttributes(*node_).Ints(name, size, otherwise);
  }

  // Whether there is such an input and it is a constant; the constant.
  bool IsConstant(int input) const { return ConstantAt(input) != nullptr; }
  // Whether the node is one itself.
  bool GivesConstant() const { return node_->output_size() == 1 && constants_.count(node_->output(0)) > 0; }
  const onnx::TensorProto* ConstantAt(int input) const;
  const onnx::TensorProto* ConstantOf(const std::string& value) const;
  // The numbers of a constant: as many as the file has bytes of. None, and a mistake, where they are damaged.
  std::optional<std::vector<float>> Floats(const onnx::TensorProto& tensor);
  std::optional<std::vector<std::int64_t>> Integers(const onnx::TensorProto& tensor);

  // The nodes that take a value, but for what only asks for its shape; none where it is an output of the graph.
  std::vector<const onnx::NodeProto*> TakersOf(const std::string& value) const;

  // Null, and a mistake, where no node before gave this input, or its batch does not come first. SourceOf: of any form;
  // null alone.
  const OnnxSource* SourceAt(int input);
  const OnnxSource* SourceOf(const std::string& value) const;
  kernels::Shape ShapeOf(const OnnxSource& source) const;

  // Whether what the node gives is the net's output and nothing else.
  bool IsAnswer() const;
  // Whether the layer that made these values has none but the coming one to take them, so that it may be changed.
  bool IsTakenOnce(int input) const;

  // A layer on these inputs. The job's name is made of the node's: of the parameters' name in the file where that ends
  // with ".weight". `fill` sets its keys. False where that makes no layer, which is a mistake.
  template <typename Fill>
  bool Add(const std::string& type, const std::vector<OnnxSource>& inputs, Fill fill, const std::string& weight = "") {
    Layer config;
    config.set_name(NameFor(weight));
    config.set_type(type);
    fill(&config);
    return AddLayer(std::move(config), inputs);
  }
  // What the node gives: the layer added last, or the given source.
  void Give(const OnnxSource& source, int output = 0);
  OnnxSource Last() const { return {.place = static_cast<int>(outline_.layers.size()) - 1}; }
  // As an image or a row that it is: adds a layer where `source` is flattened and its shape is not.
  OnnxSource Materialized(const OnnxSource& source);

  // A parameter of the layer added last: "weight". One of any layer: "ip1.weight".
  void SetParameter(const std::string& tensor, OnnxWeight weight);
  void SetParameterOf(const std::string& name, OnnxWeight weight) { weights_[name] = weight; }
  Layer* LayerAt(int place) { return job_.mutable_net(place); }

  void Mistake(const std::string& what);

  Job& job() { return job_; }
  const std::map<std::string, OnnxWeight>& weights() const { return weights_; }
  const std::map<std::string, OnnxSource>& sources() const { return sources_; }
  const Mistakes& mistakes() const { return mistakes_; }
  int layers() const { return job_.net_size(); }
  const worker::NetOutline& outline() const { return outline_; }

 private:
  std::string NameFor(const std::string& weight);
  bool AddLayer(Layer config, const std::vector<OnnxSource>& inputs);

  const onnx::GraphProto& graph_;
  const std::int64_t opset_;
  kernels::Device& device_;
  Mistakes mistakes_;
  Job job_;
  worker::NetOutline outline_;
  std::map<std::string, const onnx::TensorProto*> constants_;
  std::map<std::string, OnnxSource> sources_;
  std::map<std::string, std::vector<const onnx::NodeProto*>> takers_;  // null for an output of the graph
  std::set<const onnx::NodeProto*> begun_;
  std::set<std::string> shapes_;  // values that are made of shapes
  std::map<std::string, OnnxWeight> weights_;
  JobNames names_;
  const onnx::NodeProto* node_ = nullptr;
};

// The floats or integers of a constant. InvalidArgument where its sides and its values differ in number, and for values
// that are elsewhere or of another type.
absl::StatusOr<std::vector<float>> FloatsOf(const onnx::TensorProto& tensor);
absl::StatusOr<std::vector<std::int64_t>> IntegersOf(const onnx::TensorProto& tensor);
// Values that its sides make; none where they are negative or make too many.
std::optional<std::size_t> CountOf(const onnx::TensorProto& tensor);

}  // namespace downpour::formats
