// A job's net, made of an ONNX graph's nodes one after the other.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "worker/formats/job_names.h"
#include "worker/formats/mistakes.h"
#include "worker/formats/model.h"
#include "worker/formats/onnx.pb.h"

namespace downpour::formats {

// What a node gives: the values of a layer, or the samples.
struct OnnxSource {
  int place = worker::kSamples;  // in the outline
  bool flattened = false;        // the values are a row, whatever shape they have in the net
  std::int64_t padding = 0;      // zeros around them, which the node that takes them is to add
};

// A tensor of the file that is a parameter.
struct OnnxWeight {
  const onnx::TensorProto* tensor = nullptr;  // null: all zeros
  bool transposed = false;                    // {inputs, outputs} in the file
  bool spread = false;                        // one value in the file, for all
};

// One thread. The graph must outlive it. Mistakes and what is added are of the node begun last.
class OnnxReader {
 public:
  // `sample` is a shape that OutlineNet takes.
  OnnxReader(const onnx::GraphProto& graph, const std::string& file, const kernels::Shape& sample,
             kernels::Device& device);

  void Begin(const onnx::NodeProto& node);
  const onnx::NodeProto& node() const { return *node_; }

  // Attributes, or what they are where they are not there.
  std::int64_t Int(const std::string& name, std::int64_t otherwise) const;
  float Float(const std::string& name, float otherwise) const;
  std::string Text(const std::string& name, const std::string& otherwise) const;
  // `otherwise` twice or more, as `size` says, where they are not there.
  std::vector<std::int64_t> Ints(const std::string& name, std::size_t size, std::int64_t otherwise) const;

  // Whether there is such an input and it is a constant; the constant.
  bool IsConstant(int input) const { return ConstantAt(input) != nullptr; }
  // Whether the node is one itself.
  bool GivesConstant() const { return node_->output_size() == 1 && constants_.count(node_->output(0)) > 0; }
  const onnx::TensorProto* ConstantAt(int input) const;
  // The numbers of a constant: as many as the file has bytes of. None, and a mistake, where they are damaged.
  std::optional<std::vector<float>> Floats(const onnx::TensorProto& tensor);
  std::optional<std::vector<std::int64_t>> Integers(const onnx::TensorProto& tensor);

  // Null, and a mistake, where no node before gave this input.
  const OnnxSource* SourceAt(int input);
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
  void Give(const OnnxSource& source);
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
  const onnx::AttributeProto* Find(const std::string& name) const;

  const onnx::GraphProto& graph_;
  kernels::Device& device_;
  Mistakes mistakes_;
  Job job_;
  worker::NetOutline outline_;
  std::map<std::string, const onnx::TensorProto*> constants_;
  std::map<std::string, OnnxSource> sources_;
  std::map<std::string, int> takers_;  // nodes and outputs that name a value
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
