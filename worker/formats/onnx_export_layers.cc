// Layers as nodes of ONNX.
#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "worker/formats/onnx_export.h"
#include "worker/formats/onnx_export_sequences.h"

namespace downpour::formats {
namespace {

using Sides = std::vector<std::int64_t>;

absl::StatusOr<bool> Convolution(OnnxWriter& out, const OnnxLayer& layer) {
  const Layer& config = layer.config;
  out.Add("Conv", layer.name(),
          {out.Image(layer.inputs[0]).name, out.Parameter(layer.name() + ".weight"), out.Parameter(layer.name() + ".bias")})
      .Set("kernel_shape", Sides(2, config.kernel()))
      .Set("strides", Sides(2, config.stride()))
      .Set("pads", Sides(4, config.pad()))
      .Set("dilations", Sides(2, config.dilation()))
      .Set("group", std::int64_t{config.groups()});
  return false;
}

absl::StatusOr<bool> TransposedConvolution(OnnxWriter& out, const OnnxLayer& layer) {
  const Layer& config = layer.config;
  out.Add("ConvTranspose", layer.name(),
          {out.Image(layer.inputs[0]).name, out.Parameter(layer.name() + ".weight"), out.Parameter(layer.name() + ".bias")})
      .Set("kernel_shape", Sides(2, config.kernel()))
      .Set("strides", Sides(2, config.stride()))
      .Set("pads", Sides(4, config.pad()))
      .Set("dilations", Sides(2, config.dilation()))
      .Set("group", std::int64_t{config.groups()});
  return false;
}

absl::StatusOr<bool> InnerProduct(OnnxWriter& out, const OnnxLayer& layer) {
  if (layer.config.per_step()) return WriteInnerProductPerStep(out, layer);
  out.Add("Gemm", layer.name(),
          {out.Flat(layer.inputs[0]).name, out.Parameter(layer.name() + ".weight"), out.Parameter(layer.name() + ".bias")})
      .Set("transB", std::int64_t{1});
  return true;
}

// How far a last window reaches beyond the padded input.
std::int64_t Beyond(const Layer& config, int side, int output) {
  const std::int64_t end = (output - std::int64_t{1}) * config.stride() + config.kernel();
  return std::max<std::int64_t>(0, end - side - 2 * std::int64_t{config.pad()});
}

// Windows that reach beyond the input are written as padding at its end: runtimes differ in what ceil_mode does.
absl::StatusOr<bool> Pooling(OnnxWriter& out, const OnnxLayer& layer) {
  const Layer& config = layer.config;
  const std::int64_t pad = config.pad();
  OnnxValue input = out.Image(layer.inputs[0]);
  const std::int64_t below = Beyond(config, input.shape.height, layer.outline.output.height);
  const std::int64_t right = Beyond(config, input.shape.width, layer.outline.output.width);
  const bool average = config.method() == "average";
  Sides pads = {pad, pad, pad + below, pad + right};
  const bool beyond = below > 0 || right > 0;
  // An average counts the padding's zeros, but not what is beyond it.
  if (average && pad > 0 && beyond) {
    const std::string name = absl::StrCat(layer.name(), "/padded");
    out.Add("Pad", name,
            {input.name, out.Constant(name + ".pads", {0, 0, pad, pad, 0, 0, pad, pad}), out.Constant(name + ".zero", {}, {0.0f})});
    input.name = name;
    pads = {0, 0, below, right};
  }
  if (std::ranges::any_of(pads, [&](std::int64_t each) { return each >= config.kernel(); })) {
    return absl::UnimplementedError("a window that lies beyond the input and its padding");
  }
  OnnxNode node = out.Add(average ? "AveragePool" : "MaxPool", layer.name(), {input.name});
  node.Set("kernel_shape", Sides(2, config.kernel())).Set("strides", Sides(2, config.stride())).Set("pads", pads);
  if (average) node.Set("count_include_pad", std::int64_t{pad > 0 && !beyond});
  return false;
}

absl::StatusOr<bool> GlobalPooling(OnnxWriter& out, const OnnxLayer& layer) {
  out.Add(layer.config.method() == "average" ? "GlobalAveragePool" : "GlobalMaxPool", layer.name(),
          {out.Image(layer.inputs[0]).name});
  return false;
}

// A function of each value.
template <const char* kOp>
absl::StatusOr<bool> Unary(OnnxWriter& out, const OnnxLayer& layer) {
  out.Add(kOp, layer.name(), {layer.inputs[0].name});
  return layer.inputs[0].flat;
}
constexpr char kRelu[] = "Relu";
constexpr char kSigmoid[] = "Sigmoid";
constexpr char kTanh[] = "Tanh";
constexpr char kGelu[] = "Gelu";

absl::StatusOr<bool> LeakyRelu(OnnxWriter& out, const OnnxLayer& layer) {
  out.Add("LeakyRelu", layer.name(), {layer.inputs[0].name}).Set("alpha", layer.config.slope());
  return layer.inputs[0].flat;
}

absl::StatusOr<bool> Elu(OnnxWriter& out, const OnnxLayer& layer) {
  out.Add("Elu", layer.name(), {layer.inputs[0].name}).Set("alpha", layer.config.slope());
  return layer.inputs[0].flat;
}

absl::StatusOr<bool> Prelu(OnnxWriter& out, const OnnxLayer& layer) {
  const OnnxValue& input = layer.inputs[0];
  const std::int64_t channels = input.shape.channels;
  out.Add("PRelu", layer.name(),
          {input.name, out.Parameter(layer.name() + ".weight", input.flat ? Sides{channels} : Sides{channels, 1, 1})});
  return input.flat;
}

absl::StatusOr<bool> BatchNorm(OnnxWriter& out, const OnnxLayer& layer) {
  const std::string& name = layer.name();
  out.Add("BatchNormalization", name,
          {layer.inputs[0].name, out.Parameter(name + ".weight"), out.Parameter(name + ".bias"),
           out.Parameter(name + ".running_mean"), out.Parameter(name + ".running_var")})
      .Set("epsilon", layer.config.epsilon())
      .Set("momentum", layer.config.moving_average_fraction());
  return layer.inputs[0].flat;
}

absl::StatusOr<bool> Dropout(OnnxWriter& out, const OnnxLayer& layer) {
  out.Add("Dropout", layer.name(), {layer.inputs[0].name, out.Constant(layer.name() + ".rate", {}, {layer.config.rate()})});
  return layer.inputs[0].flat;
}

// Inputs as tensors of one rank, which is flat where all are.
std::vector<std::string> OfOneRank(OnnxWriter& out, const OnnxLayer& layer, bool* flat) {
  *flat = std::ranges::all_of(layer.inputs, &OnnxValue::flat);
  std::vector<std::string> names;
  for (const OnnxValue& input : layer.inputs) names.push_back(*flat ? input.name : out.Image(input).name);
  return names;
}

absl::StatusOr<bool> Eltwise(OnnxWriter& out, const OnnxLayer& layer) {
  bool flat = false;
  const std::vector<std::string> names = OfOneRank(out, layer, &flat);
  if (layer.config.operation() != "product") {
    out.Add(layer.config.operation() == "max" ? "Max" : "Sum", layer.name(), names);
    return flat;
  }
  std::string product = names[0];
  for (std::size_t i = 1; i < names.size(); ++i) {
    const std::string name = i + 1 == names.size() ? layer.name() : absl::StrCat(layer.name(), "/", i);
    out.Add("Mul", name, {product, names[i]});
    product = name;
  }
  return flat;
}

absl::StatusOr<bool> Concat(OnnxWriter& out, const OnnxLayer& layer) {
  bool flat = false;
  const std::vector<std::string> names = OfOneRank(out, layer, &flat);
  out.Add("Concat", layer.name(), names).Set("axis", std::int64_t{1});
  return flat;
}

absl::StatusOr<bool> Softmax(OnnxWriter& out, const OnnxLayer& layer) {
  out.Add("Softmax", layer.name(), {layer.inputs[0].name}).Set("axis", std::int64_t{1});
  return layer.inputs[0].flat;
}

// The pieces of a channel are rows of an image, over which a window goes.
absl::StatusOr<bool> Maxout(OnnxWriter& out, const OnnxLayer& layer) {
  const std::int64_t pieces = layer.config.pieces();
  const kernels::Shape& output = layer.outline.output;
  const std::string rows = absl::StrCat(layer.name(), "/pieces"), largest = absl::StrCat(layer.name(), "/largest");
  out.Add("Reshape", rows,
          {layer.inputs[0].name,
           out.Constant(rows + ".shape", {0, output.channels, pieces, std::int64_t{output.height} * output.width})});
  out.Add("MaxPool", largest, {rows}).Set("kernel_shape", Sides{pieces, 1});
  out.Add("Reshape", layer.name(),
          {largest, out.Constant(layer.name() + ".shape", {0, output.channels, output.height, output.width})});
  return false;
}

absl::StatusOr<bool> LayerNorm(OnnxWriter& out, const OnnxLayer& layer) {
  const bool step = layer.config.axis() == "step";
  const OnnxValue input = step ? out.Image(layer.inputs[0]) : layer.inputs[0];
  const kernels::Shape& shape = input.shape;
  Sides sides = {shape.channels, shape.height, shape.width};
  if (step) sides = {shape.width};
  if (input.flat) sides = {shape.channels};
  out.Add("LayerNormalization", layer.name(),
          {input.name, out.Parameter(layer.name() + ".weight", sides), out.Parameter(layer.name() + ".bias", sides)})
      .Set("axis", std::int64_t{step ? 3 : 1})
      .Set("epsilon", layer.config.epsilon());
  return input.flat;
}

absl::StatusOr<bool> Lrn(OnnxWriter& out, const OnnxLayer& layer) {
  const Layer& config = layer.config;
  const OnnxValue input = out.Image(layer.inputs[0]);
  if (config.region() != "within_channel") {
    out.Add("LRN", layer.name(), {input.name})
        .Set("size", std::int64_t{config.local_size()})
        .Set("alpha", config.alpha())
        .Set("beta", config.beta())
        .Set("bias", config.k());
    return false;
  }
  // ONNX has it across channels alone: here it is a mean of squares, zeros beyond the image included.
  const auto part = [&](const char* name) { return absl::StrCat(layer.name(), "/", name); };
  const auto number = [&](const char* name, float value) { return out.Constant(part(name), {}, {value}); };
  out.Add("Mul", part("squares"), {input.name, input.name});
  out.Add("AveragePool", part("mean"), {part("squares")})
      .Set("kernel_shape", Sides(2, config.local_size()))
      .Set("pads", Sides(4, (config.local_size() - 1) / 2))
      .Set("count_include_pad", std::int64_t{1});
  out.Add("Mul", part("weighted"), {part("mean"), number("alpha", config.alpha())});
  out.Add("Add", part("scale"), {part("weighted"), number("k", config.k())});
  out.Add("Pow", part("power"), {part("scale"), number("beta", config.beta())});
  out.Add("Div", layer.name(), {input.name, part("power")});
  return false;
}

absl::StatusOr<bool> Slice(OnnxWriter& out, const OnnxLayer& layer) {
  const OnnxValue input = out.Image(layer.inputs[0]);
  const std::string& axis = layer.config.axis();
  const int at = axis == "height" ? 2 : axis == "width" ? 3 : 1;
  const int side = at == 1 ? input.shape.channels : at == 2 ? input.shape.height : input.shape.width;
  const std::int64_t to = layer.config.has_to() ? layer.config.to() : side;
  out.Add("Slice", layer.name(),
          {input.name, out.Constant(layer.name() + ".from", {layer.config.from()}),
           out.Constant(layer.name() + ".to", {to}), out.Constant(layer.name() + ".axis", {at})});
  return false;
}

absl::StatusOr<bool> Flatten(OnnxWriter& out, const OnnxLayer& layer) {
  out.Add("Flatten", layer.name(), {layer.inputs[0].name}).Set("axis", std::int64_t{1});
  return true;
}

absl::StatusOr<bool> Reshape(OnnxWriter& out, const OnnxLayer& layer) {
  const kernels::Shape& output = layer.outline.output;
  out.Add("Reshape", layer.name(),
          {layer.inputs[0].name,
           out.Constant(layer.name() + ".shape", {0, output.channels, output.height, output.width})});
  return false;
}

constexpr OnnxExport kExports[] = {
    {"convolution", Convolution},
    {"transposed_convolution", TransposedConvolution},
    {"pooling", Pooling},
    {"global_pooling", GlobalPooling},
    {"inner_product", InnerProduct},
    {"relu", Unary<kRelu>},
    {"leaky_relu", LeakyRelu},
    {"prelu", Prelu},
    {"elu", Elu},
    {"gelu", Unary<kGelu>, 20},
    {"sigmoid", Unary<kSigmoid>},
    {"tanh", Unary<kTanh>},
    {"softmax", Softmax},
    {"maxout", Maxout},
    {"batch_norm", BatchNorm},
    {"layer_norm", LayerNorm, 17},
    {"lrn", Lrn},
    {"dropout", Dropout},
    {"eltwise", Eltwise},
    {"concat", Concat},
    {"slice", Slice},
    {"flatten", Flatten},
    {"reshape", Reshape},
    {"embedding", WriteEmbedding},
    {"self_attention", WriteSelfAttention},
    {"lstm", WriteLstm},
    {"gru", WriteGru},
};

}  // namespace

std::span<const OnnxExport> OnnxExports() { return kExports; }

}  // namespace downpour::formats
