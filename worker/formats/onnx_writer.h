// An ONNX graph while it is written.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "worker/formats/model.h"
#include "worker/formats/onnx.pb.h"

namespace downpour::formats {

// A tensor of the graph: what a layer gives, for a batch. Rows of values are {batch, values} where `flat`, else they have
// four sides.
struct OnnxValue {
  std::string name;
  kernels::Shape shape;
  bool flat = false;
};

// A node that was added, to be given attributes.
class OnnxNode {
 public:
  explicit OnnxNode(onnx::NodeProto* node) : node_(*node) {}

  OnnxNode& Set(const std::string& name, std::int64_t value);
  OnnxNode& Set(const std::string& name, float value);
  OnnxNode& Set(const std::string& name, const std::vector<std::int64_t>& values);
  // One more output, after that of the node's own name.
  OnnxNode& Output(const std::string& name) {
    node_.add_output(name);
    return *this;
  }

 private:
  onnx::AttributeProto* Add(const std::string& name, onnx::AttributeProto::AttributeType type);

  onnx::NodeProto& node_;
};

// One thread. The model and the graph must outlive it.
class OnnxWriter {
 public:
  OnnxWriter(const Model& model, onnx::GraphProto* graph) : model_(model), graph_(*graph) {}

  // A node of that name, whose value has the name too.
  OnnxNode Add(const std::string& op, const std::string& name, const std::vector<std::string>& inputs);

  // Constants; their names.
  std::string Constant(const std::string& name, const std::vector<std::int64_t>& sides, const std::vector<float>& values);
  std::string Constant(const std::string& name, const std::vector<std::int64_t>& values);
  // A parameter of the model, "conv1.weight", as it is or with other sides.
  std::string Parameter(const std::string& name);
  std::string Parameter(const std::string& name, const std::vector<std::int64_t>& sides);
  // Its values, to be written in another order.
  std::vector<float> Values(const std::string& name) const;

  // The value as rows, and as images; it may be so already.
  OnnxValue Flat(const OnnxValue& value);
  OnnxValue Image(const OnnxValue& value);

 private:
  const Model& model_;
  onnx::GraphProto& graph_;
};

// Four sides or two, the first of which is the batch, of any size.
void SetShape(const OnnxValue& value, onnx::ValueInfoProto* info);

}  // namespace downpour::formats
