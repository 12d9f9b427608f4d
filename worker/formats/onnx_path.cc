#include "worker/formats/onnx_path.h"

#include <utility>

namespace downpour::formats {

bool OnnxPath::Next(std::string_view op, int output) {
  return output < node().output_size() && NextOf(node().output(output), op);
}

bool OnnxPath::NextOf(const std::string& value, std::string_view op) {
  const std::vector<const onnx::NodeProto*> takers = reader_.TakersOf(value);
  if (takers.size() != 1 || takers[0]->op_type() != op) return false;
  nodes_.push_back(takers[0]);
  return true;
}

bool OnnxPath::Is(const char* attribute, std::int64_t value, std::int64_t otherwise) const {
  return OnnxAttributes(node()).Int(attribute, otherwise) == value;
}

bool OnnxPath::Is(const char* attribute, const Sides& values) const {
  return OnnxAttributes(node()).Ints(attribute, 0, 0) == values;
}

const onnx::TensorProto* OnnxPath::Constant(int input) const {
  return input < node().input_size() ? reader_.ConstantOf(node().input(input)) : nullptr;
}

std::optional<OnnxPath::Sides> OnnxPath::Integers(int input) const {
  const onnx::TensorProto* const constant = Constant(input);
  if (constant == nullptr) return std::nullopt;
  auto values = IntegersOf(*constant);
  return values.ok() ? std::optional(*std::move(values)) : std::nullopt;
}

std::optional<std::vector<float>> OnnxPath::Floats(int input) const {
  const onnx::TensorProto* const constant = Constant(input);
  if (constant == nullptr) return std::nullopt;
  auto values = FloatsOf(*constant);
  return values.ok() ? std::optional(*std::move(values)) : std::nullopt;
}

std::optional<float> OnnxPath::Number(int input) const {
  const auto values = Floats(input);
  return values && values->size() == 1 ? std::optional(values->front()) : std::nullopt;
}

void OnnxPath::Take() {
  for (const onnx::NodeProto* node : nodes_) reader_.Begin(*node);
}

}  // namespace downpour::formats
