// Nodes of ONNX as layers.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "worker/formats/onnx_import.h"

namespace downpour::formats {
namespace {

using Sides = std::vector<std::int64_t>;

constexpr std::int64_t kMostOfWindow = 1024;

// One number for all directions. None, and a mistake, where they differ or are out of bounds.
std::optional<std::int64_t> Same(OnnxReader& reader, const char* what, const Sides& sides, std::int64_t least) {
  const bool same = !sides.empty() && sides.size() <= 4 &&
                    std::ranges::all_of(sides, [&](std::int64_t side) { return side == sides.front(); });
  if (same && sides.front() >= least && sides.front() <= kMostOfWindow) return sides.front();
  reader.Mistake(absl::StrCat(what, same ? " is out of bounds" : " is not the same in all directions"));
  return std::nullopt;
}

// A window over rows and columns, with its padding and that of a Pad before it.
struct Window {
  std::int64_t kernel = 0, stride = 1, pad = 0, dilation = 1;
  std::int64_t below = 0, right = 0;  // more padding at the end
};

// `kernel`: where the node itself does not say it.
std::optional<Window> ReadWindow(OnnxReader& reader, const OnnxSource& source, const Sides& kernel) {
  Sides kernels = reader.Ints("kernel_shape", 0, 0);
  if (kernels.empty()) kernels = kernel;
  const auto side = Same(reader, "kernel_shape", kernels, 1);
  const auto stride = Same(reader, "strides", reader.Ints("strides", 2, 1), 1);
  const auto dilation = Same(reader, "dilations", reader.Ints("dilations", 2, 1), 1);
  if (!side || !stride || !dilation || kernels.size() != 2) return std::nullopt;
  Sides pads = reader.Ints("pads", 4, 0);
  const std::string automatic = reader.Text("auto_pad", "NOTSET");
  if (automatic == "SAME_UPPER" || automatic == "SAME_LOWER") {
    const auto whole = [&](std::int64_t input) {
      const std::int64_t outputs = (input + *stride - 1) / *stride;
      return std::max<std::int64_t>(0, (outputs - 1) * *stride + (*side - 1) * *dilation + 1 - input);
    };
    const std::int64_t high = whole(reader.ShapeOf(source).height), wide = whole(reader.ShapeOf(source).width);
    pads = {high / 2, wide / 2, high - high / 2, wide - wide / 2};
    if (automatic == "SAME_LOWER") pads = {pads[2], pads[3], pads[0], pads[1]};
  } else if (automatic != "NOTSET" && automatic != "VALID") {
    reader.Mistake("auto_pad of another kind");
    return std::nullopt;
  }
  const bool bounded = std::ranges::all_of(pads, [](std::int64_t each) { return each >= 0 && each <= kMostOfWindow; });
  if (pads.size() != 4 || !bounded || pads[0] != pads[1] || pads[2] < pads[0] || pads[3] < pads[1]) {
    reader.Mistake("pads at the beginning that differ, or are more than at the end");
    return std::nullopt;
  }
  return Window{*side, *stride, pads[0] + source.padding, *dilation, pads[2] - pads[0], pads[3] - pads[1]};
}

void FreezeBias(Layer* layer) { layer->set_bias_lr_mult(0); }

// `transposed`: weights are {inputs, outputs of a group, ...}, else {outputs, inputs of a group, ...}.
void AddConvolution(OnnxReader& reader, bool transposed) {
  const OnnxSource* const source = reader.SourceAt(0);
  const onnx::TensorProto* const weight = reader.ConstantAt(1);
  if (source == nullptr) return;
  if (weight == nullptr || weight->dims_size() != 4) return reader.Mistake("its weights are no constant of four sides");
  if (transposed && source->padding != 0) return reader.Mistake("a Pad before it");
  const auto window = ReadWindow(reader, *source, {weight->dims(2), weight->dims(3)});
  if (!window) return;
  if (window->below != 0 || window->right != 0) return reader.Mistake("more padding at the end than at the beginning");
  const bool biased = reader.node().input_size() > 2 && !reader.node().input(2).empty();
  if (biased && !reader.IsConstant(2)) return reader.Mistake("its biases are no constant");
  const std::int64_t groups = reader.Int("group", 1), side = weight->dims(transposed ? 1 : 0);
  if (side < 1 || groups < 1 || side > INT32_MAX || groups > INT32_MAX / side) {
    return reader.Mistake("has no outputs or no groups");
  }
  OnnxSource unpadded = reader.Materialized(*source);
  unpadded.padding = 0;
  const bool added = reader.Add(
      transposed ? "transposed_convolution" : "convolution", {unpadded},
      [&](Layer* layer) {
        layer->set_outputs(static_cast<std::uint32_t>(transposed ? side * groups : side));
        layer->set_kernel(static_cast<std::uint32_t>(window->kernel));
        if (window->stride != 1) layer->set_stride(static_cast<std::uint32_t>(window->stride));
        if (window->pad != 0) layer->set_pad(static_cast<std::uint32_t>(window->pad));
        if (window->dilation != 1) layer->set_dilation(static_cast<std::uint32_t>(window->dilation));
        if (groups != 1) layer->set_groups(static_cast<std::uint32_t>(groups));
        if (!biased) FreezeBias(layer);
      },
      reader.node().input(1));
  if (!added) return;
  reader.SetParameter("weight", {weight});
  reader.SetParameter("bias", {biased ? reader.ConstantAt(2) : nullptr});
}

void Conv(OnnxReader& reader) { AddConvolution(reader, false); }

void ConvTranspose(OnnxReader& reader) {
  const Sides more = reader.Ints("output_padding", 2, 0);
  if (std::ranges::any_of(more, [](std::int64_t each) { return each != 0; })) return reader.Mistake("output_padding");
  if (!reader.Ints("output_shape", 0, 0).empty()) return reader.Mistake("output_shape");
  if (reader.Text("auto_pad", "NOTSET") != "NOTSET") return reader.Mistake("auto_pad");
  AddConvolution(reader, true);
}

// A matrix of {inputs, outputs} or, transposed, {outputs, inputs}.
void AddInnerProduct(OnnxReader& reader, const OnnxSource& source, bool outputs_first, const onnx::TensorProto* bias) {
  const onnx::TensorProto* const weight = reader.ConstantAt(1);
  if (weight == nullptr || weight->dims_size() != 2) return reader.Mistake("its weights are no constant of two sides");
  const std::int64_t outputs = weight->dims(outputs_first ? 0 : 1), inputs = weight->dims(outputs_first ? 1 : 0);
  const kernels::Shape shape = reader.ShapeOf(source);
  if (outputs < 1 || outputs > INT32_MAX || inputs != static_cast<std::int64_t>(shape.size())) {
    return reader.Mistake(absl::StrCat("its weights are of ", inputs, " inputs; it takes ", shape.size()));
  }
  const bool row = source.flattened || (shape.height == 1 && shape.width == 1);
  if (!row) return reader.Mistake("takes values that are no row");
  const bool added = reader.Add(
      "inner_product", {{.place = source.place, .padding = source.padding}},
      [&](Layer* layer) {
        layer->set_outputs(static_cast<std::uint32_t>(outputs));
        if (bias == nullptr) FreezeBias(layer);
      },
      reader.node().input(1));
  if (!added) return;
  reader.SetParameter("weight", {weight, !outputs_first});
  reader.SetParameter("bias", {bias});
}

void Gemm(OnnxReader& reader) {
  const OnnxSource* const source = reader.SourceAt(0);
  if (source == nullptr) return;
  if (reader.Int("transA", 0) != 0 || reader.Float("alpha", 1) != 1 || reader.Float("beta", 1) != 1) {
    return reader.Mistake("transA, or an alpha or beta other than 1");
  }
  const bool biased = reader.node().input_size() > 2 && !reader.node().input(2).empty();
  if (biased && !reader.IsConstant(2)) return reader.Mistake("its biases are no constant");
  AddInnerProduct(reader, *source, reader.Int("transB", 0) != 0, biased ? reader.ConstantAt(2) : nullptr);
}

void MatMul(OnnxReader& reader) {
  const OnnxSource* const source = reader.SourceAt(0);
  if (source != nullptr) AddInnerProduct(reader, *source, false, nullptr);
}

// Keys of a pooling that is the node's, where there are such.
void Pool(OnnxReader& reader, bool average) {
  const OnnxSource* const source = reader.SourceAt(0);
  if (source == nullptr) return;
  const auto window = ReadWindow(reader, *source, {});
  if (!window) return;
  if (window->dilation != 1) return reader.Mistake("dilations other than 1");
  if (!average && source->padding != 0) return reader.Mistake("a Pad of zeros before a maximum");
  if (reader.node().output_size() > 1) return reader.Mistake("a second output, of where its maxima are");
  const bool ceil = reader.Int("ceil_mode", 0) != 0;
  const bool beyond = ceil || window->below > 0 || window->right > 0;
  if (average) {
    const bool counts = reader.Int("count_include_pad", 0) != 0;
    const std::int64_t own = window->pad - source->padding;
    if (!counts && own > 0) return reader.Mistake("an average that does not count its padding");
    if (counts && (window->below > 0 || window->right > 0)) return reader.Mistake("an average that counts what is beyond");
  }
  // Where padding at the end makes the windows that rounding up does, both are the same.
  const kernels::Shape input = reader.ShapeOf(*source);
  const auto outputs = [&](std::int64_t side, std::int64_t more) {
    const std::int64_t steps = side + 2 * window->pad + more - window->kernel;
    return steps < 0 ? 0 : steps / window->stride + 1;
  };
  OnnxSource unpadded = reader.Materialized(*source);
  unpadded.padding = 0;
  const bool added = reader.Add("pooling", {unpadded}, [&](Layer* layer) {
    layer->set_kernel(static_cast<std::uint32_t>(window->kernel));
    if (window->stride != 1) layer->set_stride(static_cast<std::uint32_t>(window->stride));
    if (window->pad != 0) layer->set_pad(static_cast<std::uint32_t>(window->pad));
    if (average) layer->set_method("average");
    if (beyond) layer->set_round_up(true);
  });
  if (!added || ceil) return;
  const kernels::Shape output = reader.ShapeOf(reader.Last());
  if (output.height != outputs(input.height, window->below) || output.width != outputs(input.width, window->right)) {
    reader.Mistake("pads at the end that make other windows than rounding up does");
  }
}

void MaxPool(OnnxReader& reader) { Pool(reader, false); }
void AveragePool(OnnxReader& reader) { Pool(reader, true); }

void GlobalPool(OnnxReader& reader, bool average, bool flattened) {
  const OnnxSource* const source = reader.SourceAt(0);
  if (source == nullptr) return;
  const bool added = reader.Add("global_pooling", {*source}, [&](Layer* layer) {
    if (average) layer->set_method("average");
  });
  if (added && flattened) reader.Give({.place = reader.Last().place, .flattened = true});
}

void GlobalMaxPool(OnnxReader& reader) { GlobalPool(reader, false, false); }
void GlobalAveragePool(OnnxReader& reader) { GlobalPool(reader, true, false); }

// Of rows and columns alone.
void ReduceMean(OnnxReader& reader) {
  Sides axes = reader.Ints("axes", 0, 0);
  if (const onnx::TensorProto* const given = reader.ConstantAt(1)) axes = reader.Integers(*given).value_or(Sides());
  for (std::int64_t& axis : axes) axis += axis < 0 ? 4 : 0;
  std::ranges::sort(axes);
  if (axes != Sides{2, 3}) return reader.Mistake("axes other than rows and columns");
  GlobalPool(reader, true, reader.Int("keepdims", 1) == 0);
}

// A function of each value, of which a row stays a row.
template <typename Fill>
void Unary(OnnxReader& reader, const char* type, Fill fill) {
  const OnnxSource* const source = reader.SourceAt(0);
  if (source == nullptr) return;
  const bool flattened = source->flattened;
  if (!reader.Add(type, {{.place = source->place, .padding = source->padding}}, fill)) return;
  reader.Give({.place = reader.Last().place, .flattened = flattened});
}

void Relu(OnnxReader& reader) {
  Unary(reader, "relu", [](Layer*) {});
}
void LeakyRelu(OnnxReader& reader) {
  Unary(reader, "leaky_relu", [&](Layer* layer) { layer->set_slope(reader.Float("alpha", 0.01f)); });
}
void Elu(OnnxReader& reader) {
  Unary(reader, "elu", [&](Layer* layer) { layer->set_slope(reader.Float("alpha", 1)); });
}
void Sigmoid(OnnxReader& reader) {
  Unary(reader, "sigmoid", [](Layer*) {});
}
void Tanh(OnnxReader& reader) {
  Unary(reader, "tanh", [](Layer*) {});
}
void Gelu(OnnxReader& reader) {
  if (reader.Text("approximate", "none") != "none") return reader.Mistake("approximate");
  Unary(reader, "gelu", [](Layer*) {});
}

void Dropout(OnnxReader& reader) {
  float rate = reader.Float("ratio", 0.5f);
  if (const onnx::TensorProto* const given = reader.ConstantAt(1)) {
    const auto values = reader.Floats(*given);
    if (!values) return;
    if (values->size() != 1) return reader.Mistake("a ratio that is not one number");
    rate = values->front();
  }
  Unary(reader, "dropout", [&](Layer* layer) { layer->set_rate(rate); });
}

void PRelu(OnnxReader& reader) {
  const OnnxSource* const source = reader.SourceAt(0);
  const onnx::TensorProto* const slopes = reader.ConstantAt(1);
  if (source == nullptr) return;
  if (slopes == nullptr) return reader.Mistake("its slopes are no constant");
  if (!reader.Add("prelu", {reader.Materialized(*source)}, [](Layer*) {}, reader.node().input(1))) return;
  reader.SetParameter("weight", {.tensor = slopes, .spread = CountOf(*slopes) == 1});
}

void BatchNormalization(OnnxReader& reader) {
  const OnnxSource* const source = reader.SourceAt(0);
  if (source == nullptr) return;
  for (int input = 1; input <= 4; ++input) {
    if (!reader.IsConstant(input)) return reader.Mistake("its parameters are no constants");
  }
  if (reader.Int("training_mode", 0) != 0) return reader.Mistake("training_mode");
  const bool added = reader.Add(
      "batch_norm", {reader.Materialized(*source)},
      [&](Layer* layer) {
        layer->set_epsilon(reader.Float("epsilon", 1e-5f));
        layer->set_moving_average_fraction(reader.Float("momentum", 0.9f));
      },
      reader.node().input(1));
  if (!added) return;
  constexpr const char* kTensors[] = {"weight", "bias", "running_mean", "running_var"};
  for (int i = 0; i < 4; ++i) reader.SetParameter(kTensors[i], {reader.ConstantAt(i + 1)});
}

void Identity(OnnxReader& reader) {
  if (reader.IsConstant(0)) return reader.Mistake("of a constant");
  if (const OnnxSource* const source = reader.SourceAt(0)) reader.Give(*source);
}

void GiveFlattened(OnnxReader& reader, const OnnxSource& source) {
  if (source.padding != 0) return reader.Mistake("takes values that a Pad was to enlarge");
  reader.Give({.place = source.place, .flattened = true});
}

void Flatten(OnnxReader& reader) {
  const OnnxSource* const source = reader.SourceAt(0);
  if (source == nullptr) return;
  if (reader.Int("axis", 1) != 1) return reader.Mistake("an axis other than 1");
  GiveFlattened(reader, *source);
}

void Reshape(OnnxReader& reader) {
  const OnnxSource* const source = reader.SourceAt(0);
  const onnx::TensorProto* const given = reader.ConstantAt(1);
  if (source == nullptr) return;
  if (given == nullptr) return reader.Mistake("its shape is no constant");
  const auto sides = reader.Integers(*given);
  if (!sides) return;
  const kernels::Shape shape = reader.ShapeOf(*source);
  const auto size = static_cast<std::int64_t>(shape.size());
  if (sides->size() == 2 && ((*sides)[1] == -1 || (*sides)[1] == size)) return GiveFlattened(reader, *source);
  const bool image = sides->size() == 4 && (*sides)[1] == shape.channels && (*sides)[2] == shape.height &&
                     (*sides)[3] == shape.width && !source->flattened;
  const bool row = sides->size() == 4 && (*sides)[1] == size && (*sides)[2] == 1 && (*sides)[3] == 1;
  if (image || (row && shape.height == 1 && shape.width == 1)) return reader.Give({.place = source->place});
  if (sides->size() != 4 || std::any_of(sides->begin() + 1, sides->end(), [](std::int64_t side) { return side < 1 || side > INT32_MAX; })) {
    return reader.Mistake("a shape that is no row and not of four sides that are said");
  }
  reader.Add("reshape", {{.place = source->place, .padding = source->padding}}, [&](Layer* layer) {
    for (int i = 1; i < 4; ++i) layer->add_shape(static_cast<std::uint32_t>((*sides)[i]));
  });
}

void Pad(OnnxReader& reader) {
  const OnnxSource* const source = reader.SourceAt(0);
  if (source == nullptr) return;
  Sides pads = reader.Ints("pads", 0, 0);
  if (const onnx::TensorProto* const given = reader.ConstantAt(1)) pads = reader.Integers(*given).value_or(Sides());
  float value = reader.Float("value", 0);
  if (const onnx::TensorProto* const given = reader.ConstantAt(2)) {
    const auto values = reader.Floats(*given);
    value = values && values->size() == 1 ? values->front() : 1;
  }
  const bool images = pads.size() == 8 && pads[0] == 0 && pads[1] == 0 && pads[4] == 0 && pads[5] == 0;
  const bool same = images && pads[2] == pads[3] && pads[2] == pads[6] && pads[2] == pads[7];
  if (!same || pads[2] < 0 || pads[2] > kMostOfWindow || value != 0 || reader.Text("mode", "constant") != "constant") {
    return reader.Mistake("is not as many zeros on each side of an image");
  }
  OnnxSource padded = *source;
  padded.padding += pads[2];
  if (padded.padding > kMostOfWindow) return reader.Mistake("more padding than there may be");
  reader.Give(padded);
}

// All inputs as what they are; none, and a mistake, where one is not known.
std::vector<OnnxSource> AllSources(OnnxReader& reader) {
  std::vector<OnnxSource> sources;
  for (int i = 0; i < reader.node().input_size(); ++i) {
    const OnnxSource* const source = reader.SourceAt(i);
    if (source == nullptr) return {};
    sources.push_back(*source);
  }
  for (OnnxSource& source : sources) source = reader.Materialized(source);
  return sources;
}

void Eltwise(OnnxReader& reader, const char* operation) {
  const std::vector<OnnxSource> sources = AllSources(reader);
  if (sources.empty()) return;
  if (sources.size() == 1) return reader.Give(sources[0]);
  reader.Add("eltwise", sources, [&](Layer* layer) {
    if (operation != nullptr) layer->set_operation(operation);
  });
}

void Sum(OnnxReader& reader) { Eltwise(reader, nullptr); }
void Max(OnnxReader& reader) { Eltwise(reader, "max"); }

// Of an inner product and a row of biases, or of two values.
void Add(OnnxReader& reader) {
  const int constant = reader.IsConstant(0) ? 0 : 1;
  if (!reader.IsConstant(constant)) return Eltwise(reader, nullptr);
  const OnnxSource* const source = reader.SourceAt(1 - constant);
  if (source == nullptr) return;
  Layer* const layer = source->place >= 0 && reader.IsTakenOnce(1 - constant) ? reader.LayerAt(source->place) : nullptr;
  const bool waits = layer != nullptr && layer->type() == "inner_product" && layer->has_bias_lr_mult();
  if (!waits) return reader.Mistake("of a constant, but not right after a MatMul");
  layer->clear_bias_lr_mult();
  reader.SetParameterOf(layer->name() + ".bias", {reader.ConstantAt(constant)});
  reader.Give(*source);
}

// Whether an input is the samples, of which nothing has been made yet.
bool IsOfSamples(OnnxReader& reader, int input, const OnnxSource& source) {
  return source.place == worker::kSamples && reader.IsTakenOnce(input) && reader.layers() == 0 &&
         reader.job().data().scale() == 1;
}

// Of a number, or one for each channel, from the samples: their mean.
void Sub(OnnxReader& reader) {
  if (reader.IsConstant(0) || !reader.IsConstant(1)) return reader.Mistake("of something else than a constant");
  const OnnxSource* const source = reader.SourceAt(0);
  if (source == nullptr) return;
  const onnx::TensorProto& mean = *reader.ConstantAt(1);
  const auto values = reader.Floats(mean);
  if (!values) return;
  // From the last but two sides of images, and the last of rows.
  const kernels::Shape shape = reader.ShapeOf(*source);
  const bool image = shape.height > 1 || shape.width > 1;
  const bool of_channels = values->size() == static_cast<std::size_t>(shape.channels) &&
                           (image ? mean.dims_size() >= 3 && mean.dims(mean.dims_size() - 3) == shape.channels
                                  : mean.dims_size() > 0);
  Transforms* const transforms = reader.job().mutable_data()->mutable_transforms();
  if (!IsOfSamples(reader, 0, *source) || transforms->mean_size() > 0 || (values->size() != 1 && !of_channels)) {
    return reader.Mistake("of a constant that is not one number for all samples, or one for each of their channels");
  }
  transforms->mutable_mean()->Assign(values->begin(), values->end());
  reader.Give(*source);
}

// Of the samples and a number, which is data.scale, or of two values.
void Mul(OnnxReader& reader) {
  const int constant = reader.IsConstant(0) ? 0 : 1;
  if (!reader.IsConstant(constant)) return Eltwise(reader, "product");
  const OnnxSource* const source = reader.SourceAt(1 - constant);
  if (source == nullptr) return;
  const auto values = reader.Floats(*reader.ConstantAt(constant));
  if (!values) return;
  if (!IsOfSamples(reader, 1 - constant, *source) || values->size() != 1) {
    return reader.Mistake("of a constant that is not one number for all samples");
  }
  reader.job().mutable_data()->set_scale(values->front());
  reader.Give(*source);
}

void Concat(OnnxReader& reader) {
  if (reader.Int("axis", 1) != 1) return reader.Mistake("an axis other than 1, that of channels");
  const std::vector<OnnxSource> sources = AllSources(reader);
  if (sources.empty()) return;
  if (sources.size() == 1) return reader.Give(sources[0]);
  reader.Add("concat", sources, [](Layer*) {});
}

// Over the channels, at each place. One at the net's end gives place to a loss.
void Softmax(OnnxReader& reader) {
  const OnnxSource* const source = reader.SourceAt(0);
  if (source == nullptr) return;
  const kernels::Shape shape = reader.ShapeOf(*source);
  const bool row = source->flattened || (shape.height == 1 && shape.width == 1);
  const std::int64_t axis = reader.Int("axis", -1);
  if (axis != 1 && !(row && axis == -1)) return reader.Mistake("an axis other than 1");
  reader.Add("softmax", {reader.Materialized(*source)}, [](Layer*) {});
}

void LogSoftmax(OnnxReader& reader) {
  if (!reader.IsAnswer()) return reader.Mistake("is not the net's output, where alone it gives place to a loss");
  Softmax(reader);
}

void Lrn(OnnxReader& reader) {
  const OnnxSource* const source = reader.SourceAt(0);
  if (source == nullptr) return;
  const std::int64_t size = reader.Int("size", 0);
  if (size < 1 || size > kMostOfWindow) return reader.Mistake("its size is out of bounds");
  reader.Add("lrn", {reader.Materialized(*source)}, [&](Layer* layer) {
    layer->set_local_size(static_cast<std::uint32_t>(size));
    layer->set_alpha(reader.Float("alpha", 0.0001f));
    layer->set_beta(reader.Float("beta", 0.75f));
    layer->set_k(reader.Float("bias", 1));
  });
}

// Of a whole sample, or of its rows.
void LayerNormalization(OnnxReader& reader) {
  const OnnxSource* const source = reader.SourceAt(0);
  if (source == nullptr) return;
  if (!reader.IsConstant(1)) return reader.Mistake("its parameters are no constants");
  const bool biased = reader.node().input_size() > 2 && !reader.node().input(2).empty();
  if (biased && !reader.IsConstant(2)) return reader.Mistake("its parameters are no constants");
  if (reader.node().output_size() > 1) return reader.Mistake("more outputs than one");
  const kernels::Shape shape = reader.ShapeOf(*source);
  const bool row = source->flattened || (shape.height == 1 && shape.width == 1);
  const std::int64_t axis = reader.Int("axis", -1);
  const bool step = !row && (axis == 3 || axis == -1);
  const bool whole = axis == 1 || axis == -3 || (row && axis == -1);
  if (!step && !whole) return reader.Mistake("an axis that is neither a sample's first nor its last");
  const bool added = reader.Add(
      "layer_norm", {reader.Materialized(*source)},
      [&](Layer* layer) {
        layer->set_epsilon(reader.Float("epsilon", 1e-5f));
        if (step) layer->set_axis("step");
        if (!biased) FreezeBias(layer);
      },
      reader.node().input(1));
  if (!added) return;
  reader.SetParameter("weight", {reader.ConstantAt(1)});
  reader.SetParameter("bias", {biased ? reader.ConstantAt(2) : nullptr});
}

// One number of a constant; none, and a mistake, where it is not one.
std::optional<std::int64_t> OneInteger(OnnxReader& reader, int input) {
  const onnx::TensorProto* const given = reader.ConstantAt(input);
  const auto values = given == nullptr ? std::nullopt : reader.Integers(*given);
  if (values && values->size() == 1) return values->front();
  reader.Mistake("cuts along more than one axis, or as no constant says");
  return std::nullopt;
}

void Slice(OnnxReader& reader) {
  const OnnxSource* const source = reader.SourceAt(0);
  if (source == nullptr) return;
  const auto from = OneInteger(reader, 1), to = OneInteger(reader, 2);
  const auto axis = OneInteger(reader, 3);
  const auto step = reader.node().input_size() > 4 ? OneInteger(reader, 4) : std::optional<std::int64_t>(1);
  if (!from || !to || !axis || !step) return;
  constexpr const char* kAxes[] = {"channels", "height", "width"};
  if (*axis < 1 || *axis > 3 || *step != 1) return reader.Mistake("an axis of the batch, or a step");
  const kernels::Shape shape = reader.ShapeOf(*source);
  const std::int64_t side = *axis == 1 ? shape.channels : *axis == 2 ? shape.height : shape.width;
  const auto within = [side](std::int64_t at) { return std::clamp<std::int64_t>(at < 0 ? at + side : at, 0, side); };
  const std::int64_t first = within(std::max(*from, -side)), end = within(std::max(*to, -side));
  if (first >= end) return reader.Mistake("leaves nothing");
  reader.Add("slice", {reader.Materialized(*source)}, [&](Layer* layer) {
    if (*axis != 1) layer->set_axis(kAxes[*axis - 1]);
    if (first != 0) layer->set_from(static_cast<std::uint32_t>(first));
    if (end != side) layer->set_to(static_cast<std::uint32_t>(end));
  });
}

void Constant(OnnxReader& reader) {
  if (!reader.GivesConstant()) reader.Mistake("has no tensor as its value");
}

constexpr OnnxImport kImports[] = {
    {"Conv", Conv, "convolution"},
    {"ConvTranspose", ConvTranspose, "transposed_convolution"},
    {"Gemm", Gemm, "inner_product"},
    {"MatMul", MatMul, "inner_product"},
    {"MaxPool", MaxPool, "pooling"},
    {"AveragePool", AveragePool, "pooling"},
    {"GlobalMaxPool", GlobalMaxPool, "global_pooling"},
    {"GlobalAveragePool", GlobalAveragePool, "global_pooling"},
    {"ReduceMean", ReduceMean, "global_pooling"},
    {"Relu", Relu, "relu"},
    {"LeakyRelu", LeakyRelu, "leaky_relu"},
    {"PRelu", PRelu, "prelu"},
    {"Elu", Elu, "elu"},
    {"Gelu", Gelu, "gelu"},
    {"Sigmoid", Sigmoid, "sigmoid"},
    {"Tanh", Tanh, "tanh"},
    {"BatchNormalization", BatchNormalization, "batch_norm"},
    {"LayerNormalization", LayerNormalization, "layer_norm"},
    {"LRN", Lrn, "lrn"},
    {"Softmax", Softmax, "softmax"},
    {"LogSoftmax", LogSoftmax, ""},
    {"Slice", Slice, "slice"},
    {"Dropout", Dropout, "dropout"},
    {"Sum", Sum, "eltwise"},
    {"Add", Add, "eltwise"},
    {"Mul", Mul, "eltwise"},
    {"Sub", Sub, ""},
    {"Max", Max, "eltwise"},
    {"Concat", Concat, "concat"},
    {"Identity", Identity, ""},
    {"Flatten", Flatten, "flatten"},
    {"Reshape", Reshape, "reshape"},
    {"Pad", Pad, ""},
    {"Constant", Constant, ""},
};

}  // namespace

std::span<const OnnxImport> OnnxImports() { return kImports; }

}  // namespace downpour::formats
