#include "worker/formats/onnx_import_windows.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace downpour::formats {
namespace {

using Sides = std::vector<std::int64_t>;

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
    if (source.padding != 0) {
      reader.Mistake("a Pad before padding of its own choice");
      return std::nullopt;
    }
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
        if (!biased) layer->set_bias_lr_mult(0);
      },
      reader.node().input(1));
  if (!added) return;
  reader.SetParameter("weight", {weight});
  reader.SetParameter("bias", {biased ? reader.ConstantAt(2) : nullptr});
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

void GlobalPool(OnnxReader& reader, bool average, bool flattened) {
  const OnnxSource* const source = reader.SourceAt(0);
  if (source == nullptr) return;
  const bool added = reader.Add("global_pooling", {*source}, [&](Layer* layer) {
    if (average) layer->set_method("average");
  });
  if (added && flattened) reader.Give({.place = reader.Last().place, .form = OnnxForm::kRow});
}

}  // namespace

void ReadConv(OnnxReader& reader) { AddConvolution(reader, false); }

void ReadConvTranspose(OnnxReader& reader) {
  const Sides more = reader.Ints("output_padding", 2, 0);
  if (std::ranges::any_of(more, [](std::int64_t each) { return each != 0; })) return reader.Mistake("output_padding");
  if (!reader.Ints("output_shape", 0, 0).empty()) return reader.Mistake("output_shape");
  if (reader.Text("auto_pad", "NOTSET") != "NOTSET") return reader.Mistake("auto_pad");
  AddConvolution(reader, true);
}

void ReadMaxPool(OnnxReader& reader) { Pool(reader, false); }

void ReadAveragePool(OnnxReader& reader) { Pool(reader, true); }

void ReadGlobalMaxPool(OnnxReader& reader) { GlobalPool(reader, false, false); }

void ReadGlobalAveragePool(OnnxReader& reader) { GlobalPool(reader, true, false); }

// Of rows and columns alone.
void ReadReduceMean(OnnxReader& reader) {
  Sides axes = reader.Ints("axes", 0, 0);
  if (const onnx::TensorProto* const given = reader.ConstantAt(1)) axes = reader.Integers(*given).value_or(Sides());
  for (std::int64_t& axis : axes) axis += axis < 0 ? 4 : 0;
  std::ranges::sort(axes);
  if (axes != Sides{2, 3}) return reader.Mistake("axes other than rows and columns");
  GlobalPool(reader, true, reader.Int("keepdims", 1) == 0);
}

}  // namespace downpour::formats
