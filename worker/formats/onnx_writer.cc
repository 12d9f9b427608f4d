#include "worker/formats/onnx_writer.h"

#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"

namespace downpour::formats {

// Numbers in raw bytes are little-endian, as they lie in memory here.
static_assert(std::endian::native == std::endian::little);

onnx::AttributeProto* OnnxNode::Add(const std::string& name, onnx::AttributeProto::AttributeType type) {
  onnx::AttributeProto* const attribute = node_.add_attribute();
  attribute->set_name(name);
  attribute->set_type(type);
  return attribute;
}

OnnxNode& OnnxNode::Set(const std::string& name, std::int64_t value) {
  Add(name, onnx::AttributeProto::INT)->set_i(value);
  return *this;
}

OnnxNode& OnnxNode::Set(const std::string& name, float value) {
  Add(name, onnx::AttributeProto::FLOAT)->set_f(value);
  return *this;
}

OnnxNode& OnnxNode::Set(const std::string& name, const std::vector<std::int64_t>& values) {
  Add(name, onnx::AttributeProto::INTS)->mutable_ints()->Assign(values.begin(), values.end());
  return *this;
}

OnnxNode OnnxWriter::Add(const std::string& op, const std::string& name, const std::vector<std::string>& inputs) {
  onnx::NodeProto* const node = graph_.add_node();
  node->set_op_type(op);
  node->set_name(name);
  for (const std::string& input : inputs) node->add_input(input);
  node->add_output(name);
  return OnnxNode(node);
}

std::string OnnxWriter::Constant(const std::string& name, const std::vector<std::int64_t>& sides,
                                 const std::vector<float>& values) {
  onnx::TensorProto* const tensor = graph_.add_initializer();
  tensor->set_name(name);
  tensor->mutable_dims()->Assign(sides.begin(), sides.end());
  tensor->set_data_type(onnx::TensorProto::FLOAT);
  tensor->set_raw_data(values.data(), values.size() * sizeof(float));
  return name;
}

std::string OnnxWriter::Constant(const std::string& name, const std::vector<std::int64_t>& values) {
  onnx::TensorProto* const tensor = graph_.add_initializer();
  tensor->set_name(name);
  tensor->add_dims(static_cast<std::int64_t>(values.size()));
  tensor->set_data_type(onnx::TensorProto::INT64);
  tensor->set_raw_data(values.data(), values.size() * sizeof(std::int64_t));
  return name;
}

std::string OnnxWriter::Parameter(const std::string& name) {
  const auto found = std::ranges::find(model_.outline.parameters, name, &worker::Parameter::name);
  return Parameter(name, {found->shape.begin(), found->shape.end()});
}

std::string OnnxWriter::Parameter(const std::string& name, const std::vector<std::int64_t>& sides) {
  return Constant(name, sides, Values(name));
}

std::vector<float> OnnxWriter::Values(const std::string& name) const {
  const auto found = std::ranges::find(model_.outline.parameters, name, &worker::Parameter::name);
  const auto begin = model_.values.begin() + static_cast<std::ptrdiff_t>(found->offset);
  return {begin, begin + static_cast<std::ptrdiff_t>(found->size)};
}

OnnxValue OnnxWriter::Flat(const OnnxValue& value) {
  if (value.flat) return value;
  const std::string name = absl::StrCat(value.name, "/flat");
  const bool there = std::ranges::any_of(graph_.node(), [&](const onnx::NodeProto& node) { return node.name() == name; });
  if (!there) Add("Flatten", name, {value.name}).Set("axis", std::int64_t{1});
  return {name, {.channels = static_cast<int>(value.shape.size())}, true};
}

OnnxValue OnnxWriter::Image(const OnnxValue& value) {
  if (!value.flat) return value;
  const std::string name = absl::StrCat(value.name, "/image");
  const bool there = std::ranges::any_of(graph_.node(), [&](const onnx::NodeProto& node) { return node.name() == name; });
  if (!there) {
    const kernels::Shape& shape = value.shape;
    Add("Reshape", name, {value.name, Constant(name + ".shape", {0, shape.channels, shape.height, shape.width})});
  }
  return {name, value.shape, false};
}

void SetShape(const OnnxValue& value, onnx::ValueInfoProto* info) {
  info->set_name(value.name);
  onnx::TypeProto::Tensor* const type = info->mutable_type()->mutable_tensor_type();
  type->set_elem_type(onnx::TensorProto::FLOAT);
  type->mutable_shape()->add_dim()->set_dim_param("batch");
  std::vector<int> sides = {value.shape.channels};
  if (!value.flat) sides = {value.shape.channels, value.shape.height, value.shape.width};
  for (const int side : sides) type->mutable_shape()->add_dim()->set_dim_value(side);
}

}  // namespace downpour::formats
