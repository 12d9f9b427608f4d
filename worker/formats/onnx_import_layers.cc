// Nodes of ONNX as layers.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "worker/formats/onnx_import.h"
#include "worker/formats/onnx_import_sequences.h"
#include "worker/formats/onnx_import_windows.h"
#include "worker/formats/onnx_patterns.h"

namespace downpour::formats {
namespace {

using Sides = std::vector<std::int64_t>;

// A matrix of {inputs, outputs} or, transposed, {outputs, inputs}.
void AddInnerProduct(OnnxReader& reader, const OnnxSource& source, bool outputs_first, const onnx::TensorProto* bias) {
  const onnx::TensorProto* const weight = reader.ConstantAt(1);
  if (weight == nullptr || weight->dims_size() != 2) return reader.Mistake("its weights are no constant of two sides");
  const std::int64_t outputs = weight->dims(outputs_first ? 0 : 1), inputs = weight->dims(outputs_first ? 1 : 0);
  const kernels::Shape shape = reader.ShapeOf(source);
  const bool row = source.form == OnnxForm::kRow || (shape.height == 1 && shape.width == 1);
  const bool per_step = source.form == OnnxForm::kSteps || (!row && shape.height == 1);
  const std::int64_t taken = per_step ? shape.width : static_cast<std::int64_t>(shape.size());
  if (outputs < 1 || outputs > INT32_MAX || inputs != taken) {
    return reader.Mistake(absl::StrCat("its weights are of ", inputs, " inputs; it takes ", taken));
  }
  if (!row && !per_step) return reader.Mistake("takes values that are no row, nor a sequence");
  const bool added = reader.Add(
      "inner_product", {{.place = source.place, .padding = source.padding}},
      [&](Layer* layer) {
        layer->set_outputs(static_cast<std::uint32_t>(outputs));
        if (per_step) layer->set_per_step(true);
        if (bias == nullptr) layer->set_bias_lr_mult(0);
      },
      reader.node().input(1));
  if (!added) return;
  reader.SetParameter("weight", {weight, !outputs_first});
  reader.SetParameter("bias", {bias});
  if (source.form == OnnxForm::kSteps) reader.Give({.place = reader.Last().place, .form = OnnxForm::kSteps});
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

// A function of each value, of which a row stays a row.
template <typename Fill>
void Unary(OnnxReader& reader, const char* type, Fill fill) {
  const OnnxSource* const source = reader.SourceAt(0);
  if (source == nullptr) return;
  const OnnxForm form = source->form;
  if (!reader.Add(type, {{.place = source->place, .padding = source->padding}}, fill)) return;
  reader.Give({.place = reader.Last().place, .form = form});
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
  reader.Give({.place = source.place, .form = OnnxForm::kRow});
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
                     (*sides)[3] == shape.width && source->form != OnnxForm::kRow;
  const bool row = sides->size() == 4 && (*sides)[1] == size && (*sides)[2] == 1 && (*sides)[3] == 1;
  const bool steps = sides->size() == 3 && (*sides)[1] == shape.channels && (*sides)[2] == shape.width &&
                     shape.height == 1 && source->form != OnnxForm::kRow;
  if (steps) return reader.Give({.place = source->place, .form = OnnxForm::kSteps, .padding = source->padding});
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

// Of several values, which have one form.
template <typename Fill>
void AddOfAll(OnnxReader& reader, const char* type, Fill fill) {
  const std::vector<OnnxSource> sources = AllSources(reader);
  if (sources.empty()) return;
  if (sources.size() == 1) return reader.Give(sources[0]);
  if (!reader.Add(type, sources, fill)) return;
  if (sources[0].form == OnnxForm::kSteps) reader.Give({.place = reader.Last().place, .form = OnnxForm::kSteps});
}

void Eltwise(OnnxReader& reader, const char* operation) {
  AddOfAll(reader, "eltwise", [&](Layer* layer) {
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
  AddOfAll(reader, "concat", [](Layer*) {});
}

// Over the channels, at each place. One at the net's end gives place to a loss.
void Softmax(OnnxReader& reader) {
  const OnnxSource* const source = reader.SourceAt(0);
  if (source == nullptr) return;
  const kernels::Shape shape = reader.ShapeOf(*source);
  const bool row = source->form == OnnxForm::kRow || (shape.height == 1 && shape.width == 1);
  const std::int64_t axis = reader.Int("axis", -1);
  if (axis != 1 && !(row && axis == -1)) return reader.Mistake("an axis other than 1");
  if (!row && reader.opset() < 13) return reader.Mistake("over all values of a sample, as it was before operators of set 13");
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
  const bool row = source->form == OnnxForm::kRow || (shape.height == 1 && shape.width == 1);
  const std::int64_t axis = reader.Int("axis", -1);
  const int last = source->form == OnnxForm::kSteps ? 2 : 3;
  const bool step = !row && (axis == last || axis == -1);
  const bool whole = axis == 1 || axis == -last || (row && axis == -1);
  if (!step && !whole) return reader.Mistake("an axis that is neither a sample's first nor its last");
  const bool added = reader.Add(
      "layer_norm", {reader.Materialized(*source)},
      [&](Layer* layer) {
        layer->set_epsilon(reader.Float("epsilon", 1e-5f));
        if (step) layer->set_axis("step");
        if (!biased) layer->set_bias_lr_mult(0);
      },
      reader.node().input(1));
  if (!added) return;
  reader.SetParameter("weight", {reader.ConstantAt(1)});
  reader.SetParameter("bias", {biased ? reader.ConstantAt(2) : nullptr});
  if (last == 2) reader.Give({.place = reader.Last().place, .form = OnnxForm::kSteps});
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
  if (source->form == OnnxForm::kSteps) return reader.Mistake("of a sequence");
  constexpr const char* kAxes[] = {"channels", "height", "width"};
  if (*axis < 1 || *axis > (source->form == OnnxForm::kRow ? 1 : 3) || *step != 1) {
    return reader.Mistake("an axis of the batch or one that is not there, or a step");
  }
  const OnnxSource whole = reader.Materialized(*source);
  const kernels::Shape shape = reader.ShapeOf(whole);
  const std::int64_t side = *axis == 1 ? shape.channels : *axis == 2 ? shape.height : shape.width;
  const auto within = [side](std::int64_t at) { return std::clamp<std::int64_t>(at < 0 ? at + side : at, 0, side); };
  const std::int64_t first = within(std::max(*from, -side)), end = within(std::max(*to, -side));
  if (first >= end) return reader.Mistake("leaves nothing");
  reader.Add("slice", {whole}, [&](Layer* layer) {
    if (*axis != 1) layer->set_axis(kAxes[*axis - 1]);
    if (first != 0) layer->set_from(static_cast<std::uint32_t>(first));
    if (end != side) layer->set_to(static_cast<std::uint32_t>(end));
  });
}

void Constant(OnnxReader& reader) {
  if (!reader.GivesConstant()) reader.Mistake("has no tensor as its value");
}

constexpr OnnxImport kImports[] = {
    {"Conv", ReadConv, "convolution"},
    {"ConvTranspose", ReadConvTranspose, "transposed_convolution"},
    {"Gemm", Gemm, "inner_product"},
    {"MatMul", MatMul, "inner_product"},
    {"MaxPool", ReadMaxPool, "pooling"},
    {"AveragePool", ReadAveragePool, "pooling"},
    {"GlobalMaxPool", ReadGlobalMaxPool, "global_pooling"},
    {"GlobalAveragePool", ReadGlobalAveragePool, "global_pooling"},
    {"ReduceMean", ReadReduceMean, "global_pooling"},
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
    {"Cast", ReadCast, ""},
    {"Gather", ReadGather, "embedding"},
    {"LSTM", ReadLstm, "lstm"},
    {"GRU", ReadGru, "gru"},
    {"Transpose", ReadTranspose, ""},
    {"Squeeze", ReadSqueeze, ""},
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

constexpr OnnxPattern kPatterns[] = {
    {"Div", ReadGeluByErf, "gelu"},
    {"ReduceMean", ReadLayerNormByMeans, "layer_norm"},
    {"Reshape", ReadMaxout, "maxout"},
    {"Mul", ReadLrnWithinChannel, "lrn"},
    {"MatMul", ReadSelfAttention, "self_attention"},
};

}  // namespace

std::span<const OnnxImport> OnnxImports() { return kImports; }
std::span<const OnnxPattern> OnnxPatterns() { return kPatterns; }

}  // namespace downpour::formats
