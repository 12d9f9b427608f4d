#include "worker/formats/onnx_export_sequences.h"

#include <cmath>
#include <limits>
#include <span>

#include "absl/strings/str_cat.h"

namespace downpour::formats {
namespace {

using Sides = std::vector<std::int64_t>;

// {outputs, inputs} as {inputs, outputs}.
std::vector<float> Turned(std::span<const float> rows, std::size_t outputs) {
  const std::size_t inputs = rows.size() / outputs;
  std::vector<float> columns(rows.size());
  for (std::size_t o = 0; o < outputs; ++o) {
    for (std::size_t i = 0; i < inputs; ++i) columns[i * outputs + o] = rows[o * inputs + i];
  }
  return columns;
}

// `value` times a matrix {outputs, inputs}, and biases. Its nodes and constants begin with `name`.
void AddProduct(OnnxWriter& out, const std::string& name, const std::string& value, std::span<const float> rows,
                std::span<const float> biases) {
  const auto outputs = static_cast<std::int64_t>(biases.size());
  const auto inputs = static_cast<std::int64_t>(rows.size()) / outputs;
  const std::string product = name + "/product";
  out.Add("MatMul", product, {value, out.Constant(name + ".weight", {inputs, outputs}, Turned(rows, biases.size()))});
  out.Add("Add", name, {product, out.Constant(name + ".bias", {outputs}, {biases.begin(), biases.end()})});
}

// The gates' blocks of a parameter in ONNX's order.
std::vector<float> Gates(const OnnxWriter& out, const std::string& parameter, const std::vector<std::size_t>& order) {
  const std::vector<float> values = out.Values(parameter);
  const std::size_t block = values.size() / order.size();
  std::vector<float> ordered;
  for (const std::size_t gate : order) {
    ordered.insert(ordered.end(), values.begin() + static_cast<std::ptrdiff_t>(gate * block),
                   values.begin() + static_cast<std::ptrdiff_t>((gate + 1) * block));
  }
  return ordered;
}

// ONNX wants {steps, batch, inputs}, and gives {steps, 1, batch, outputs} and {1, batch, outputs} of the last step.
absl::StatusOr<bool> AddRecurrent(OnnxWriter& out, const OnnxLayer& layer, const char* op,
                                  const std::vector<std::size_t>& order) {
  const auto part = [&](const char* name) { return absl::StrCat(layer.name(), "/", name); };
  const OnnxValue input = out.Image(layer.inputs[0]);
  const std::int64_t outputs = layer.config.outputs(), inputs = input.shape.width, steps = input.shape.channels;
  const auto rows = static_cast<std::int64_t>(order.size()) * outputs;
  const std::string parameter = layer.name() + ".";
  std::vector<float> biases = Gates(out, parameter + "bias_ih_l0", order);
  const std::vector<float> more = Gates(out, parameter + "bias_hh_l0", order);
  biases.insert(biases.end(), more.begin(), more.end());
  out.Add("Reshape", part("rows"), {input.name, out.Constant(part("shape"), {0, steps, inputs})});
  out.Add("Transpose", part("steps"), {part("rows")}).Set("perm", Sides{1, 0, 2});
  OnnxNode node = out.Add(op, part("all"),
                          {part("steps"),
                           out.Constant(parameter + "weight_ih_l0", {1, rows, inputs}, Gates(out, parameter + "weight_ih_l0", order)),
                           out.Constant(parameter + "weight_hh_l0", {1, rows, outputs}, Gates(out, parameter + "weight_hh_l0", order)),
                           out.Constant(parameter + "biases", {1, 2 * rows}, biases)});
  node.Output(part("last")).Set("hidden_size", outputs);
  if (std::string_view(op) == "GRU") node.Set("linear_before_reset", std::int64_t{1});
  if (layer.config.last()) {
    out.Add("Squeeze", layer.name(), {part("last"), out.Constant(part("axis"), Sides{0})});
    return true;
  }
  out.Add("Transpose", layer.name(), {part("all")}).Set("perm", Sides{2, 0, 1, 3});
  return false;
}

}  // namespace

absl::StatusOr<bool> WriteInnerProductPerStep(OnnxWriter& out, const OnnxLayer& layer) {
  AddProduct(out, layer.name(), out.Image(layer.inputs[0]).name, out.Values(layer.name() + ".weight"),
             out.Values(layer.name() + ".bias"));
  return false;
}

absl::StatusOr<bool> WriteEmbedding(OnnxWriter& out, const OnnxLayer& layer) {
  const std::string ids = layer.name() + "/ids", vectors = layer.name() + "/vectors";
  const kernels::Shape& output = layer.outline.output;
  out.Add("Cast", ids, {out.Flat(layer.inputs[0]).name}).Set("to", std::int64_t{onnx::TensorProto::INT64});
  out.Add("Gather", vectors, {out.Parameter(layer.name() + ".weight"), ids});
  out.Add("Reshape", layer.name(),
          {vectors, out.Constant(layer.name() + ".shape", {0, output.channels, output.height, output.width})});
  return false;
}

absl::StatusOr<bool> WriteSelfAttention(OnnxWriter& out, const OnnxLayer& layer) {
  const auto part = [&](const std::string& name) { return absl::StrCat(layer.name(), "/", name); };
  const OnnxValue input = out.Image(layer.inputs[0]);
  const std::int64_t steps = input.shape.channels, features = input.shape.width, heads = layer.config.heads();
  const auto size = static_cast<std::size_t>(features);
  const std::vector<float> weights = out.Values(layer.name() + ".in_proj_weight");
  const std::vector<float> biases = out.Values(layer.name() + ".in_proj_bias");
  out.Add("Reshape", part("steps"), {input.name, out.Constant(part("steps.shape"), Sides{0, steps, features})});
  const std::string by_head = out.Constant(part("by_head"), Sides{0, steps, heads, features / heads});
  // Queries and values {heads, steps, features of a head}, keys {heads, features of a head, steps}.
  const char* const kinds[] = {"query", "key", "value"};
  for (std::size_t i = 0; i < 3; ++i) {
    const std::string kind = part(kinds[i]);
    AddProduct(out, kind, part("steps"), std::span(weights).subspan(i * size * size, size * size),
               std::span(biases).subspan(i * size, size));
    out.Add("Reshape", kind + "/of_heads", {kind, by_head});
    out.Add("Transpose", kind + "/heads", {kind + "/of_heads"}).Set("perm", i == 1 ? Sides{0, 2, 3, 1} : Sides{0, 2, 1, 3});
  }
  const float factor = 1 / std::sqrt(static_cast<float>(features / heads));
  out.Add("MatMul", part("met"), {part("query/heads"), part("key/heads")});
  out.Add("Mul", part("scores"), {part("met"), out.Constant(part("factor"), {}, {factor})});
  std::string scores = part("scores");
  if (layer.config.causal()) {
    std::vector<float> mask(static_cast<std::size_t>(steps * steps));
    for (std::int64_t from = 0; from < steps; ++from) {
      for (std::int64_t to = from + 1; to < steps; ++to) {
        mask[static_cast<std::size_t>(from * steps + to)] = -std::numeric_limits<float>::infinity();
      }
    }
    scores = part("masked");
    out.Add("Add", scores, {part("scores"), out.Constant(part("mask"), {steps, steps}, mask)});
  }
  out.Add("Softmax", part("weights"), {scores}).Set("axis", std::int64_t{3});
  out.Add("MatMul", part("means"), {part("weights"), part("value/heads")});
  out.Add("Transpose", part("of_steps"), {part("means")}).Set("perm", Sides{0, 2, 1, 3});
  out.Add("Reshape", part("joined"), {part("of_steps"), part("steps.shape")});
  AddProduct(out, part("out"), part("joined"), out.Values(layer.name() + ".out_proj.weight"),
             out.Values(layer.name() + ".out_proj.bias"));
  out.Add("Reshape", layer.name(), {part("out"), out.Constant(part("shape"), Sides{0, steps, 1, features})});
  return false;
}

absl::StatusOr<bool> WriteLstm(OnnxWriter& out, const OnnxLayer& layer) {
  return AddRecurrent(out, layer, "LSTM", {0, 3, 1, 2});
}

absl::StatusOr<bool> WriteGru(OnnxWriter& out, const OnnxLayer& layer) {
  return AddRecurrent(out, layer, "GRU", {1, 0, 2});
}

}  // namespace downpour::formats
