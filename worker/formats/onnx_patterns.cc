#include "worker/formats/onnx_patterns.h"

#include <cmath>

namespace downpour::formats {
namespace {

using Sides = OnnxPath::Sides;

bool IsAbout(std::optional<float> number, double value) { return number && std::abs(*number - value) < 1e-5 * value; }

// Of a node of two inputs, that which is not `value`; -1 where neither or both are.
int OtherThan(const onnx::NodeProto& node, const std::string& value) {
  if (node.input_size() != 2 || (node.input(0) == value) == (node.input(1) == value)) return -1;
  return node.input(0) == value ? 1 : 0;
}

}  // namespace

// x * (erf(x / sqrt(2)) + 1) * 0.5, as PyTorch writes it.
bool ReadGeluByErf(OnnxPath& path) {
  const std::string x = path.input();
  const OnnxSource* const found = path.reader().SourceOf(x);
  if (found == nullptr || found->padding != 0 || found->form > OnnxForm::kSteps) return false;
  if (!IsAbout(path.Number(1), std::sqrt(2.0)) || !path.Next("Erf")) return false;
  const OnnxSource source = *found;
  const std::string erf = path.output();
  if (!path.Next("Add") || OtherThan(path.node(), erf) < 0) return false;
  if (!IsAbout(path.Number(OtherThan(path.node(), erf)), 1)) return false;
  const std::string sum = path.output();
  if (!path.Next("Mul") || OtherThan(path.node(), x) < 0 || OtherThan(path.node(), sum) < 0) return false;
  const std::string product = path.output();
  if (!path.Next("Mul") || OtherThan(path.node(), product) < 0) return false;
  if (!IsAbout(path.Number(OtherThan(path.node(), product)), 0.5)) return false;
  path.Take();
  if (path.reader().Add("gelu", {{.place = source.place}}, [](Layer*) {})) {
    path.reader().Give({.place = path.reader().Last().place, .form = source.form});
  }
  return true;
}

// (x - mean) / sqrt(mean of squares + epsilon) * weight + bias over the last side, as PyTorch writes it for sets of
// operators before 17.
bool ReadLayerNormByMeans(OnnxPath& path) {
  OnnxReader& reader = path.reader();
  const auto of_last = [&] {
    const auto given = path.Integers(1);
    const Sides axes = given ? *given : OnnxAttributes(path.node()).Ints("axes", 0, 0);
    return axes == Sides{-1} && path.Is("keepdims", 1, 1) && path.node().output_size() == 1;
  };
  const std::string x = path.input();
  const OnnxSource* const found = reader.SourceOf(x);
  if (found == nullptr || found->padding != 0 || found->form > OnnxForm::kSteps || !of_last()) return false;
  const OnnxSource source = *found;
  const std::string mean = path.node().output(0);
  if (!path.Next("Sub") || path.node().input_size() != 2 || path.node().input(0) != x || path.node().input(1) != mean)
    return false;
  const std::string centred = path.output();
  const auto takers = path.TakersOf(centred);
  if (takers.size() != 2) return false;
  path.GoTo(takers[0]->op_type() == "Pow" ? *takers[0] : *takers[1]);
  if (path.node().op_type() != "Pow" || !IsAbout(path.Number(1), 2) || !path.Next("ReduceMean") || !of_last())
    return false;
  const std::string variance = path.node().output(0);
  if (!path.Next("Add") || OtherThan(path.node(), variance) < 0) return false;
  const auto epsilon = path.Number(OtherThan(path.node(), variance));
  if (!epsilon || !path.Next("Sqrt") || path.node().output_size() != 1) return false;
  const std::string deviation = path.node().output(0);
  if (!path.Next("Div") || path.node().input_size() != 2 || path.node().input(0) != centred ||
      path.node().input(1) != deviation) {
    return false;
  }
  if (!path.Next("Mul") || path.Constant(1) == nullptr) return false;
  const std::string weight_name = path.node().input(1);
  const onnx::TensorProto* const weight = path.Constant(1);
  if (!path.Next("Add") || path.Constant(1) == nullptr) return false;
  const onnx::TensorProto* const bias = path.Constant(1);
  path.Take();
  const kernels::Shape shape = reader.ShapeOf(source);
  const bool row =
      source.form == OnnxForm::kRow || (source.form == OnnxForm::kWhole && shape.height == 1 && shape.width == 1);
  const bool added = reader.Add(
      "layer_norm", {reader.Materialized(source)},
      [&](Layer* layer) {
        layer->set_epsilon(*epsilon);
        if (!row) layer->set_axis("step");
      },
      weight_name);
  if (!added) return true;
  reader.SetParameter("weight", {weight});
  reader.SetParameter("bias", {bias});
  reader.Give({.place = reader.Last().place, .form = source.form});
  return true;
}

// A channel's pieces as rows of an image, over which a window goes.
bool ReadMaxout(OnnxPath& path) {
  OnnxReader& reader = path.reader();
  const OnnxSource* const found = reader.SourceOf(path.input());
  const auto rows = path.Integers(1);
  if (found == nullptr || found->padding != 0 || found->form > OnnxForm::kRow || !rows || rows->size() != 4)
    return false;
  const OnnxSource source = *found;
  kernels::Shape input = reader.ShapeOf(source);
  if (source.form == OnnxForm::kRow) input = {static_cast<int>(input.size())};
  const std::int64_t outputs = (*rows)[1], pieces = (*rows)[2];
  if (outputs < 1 || pieces < 1 || pieces > input.channels || outputs * pieces != input.channels) return false;
  if (!path.Next("MaxPool") || !path.Is("kernel_shape", Sides{pieces, 1}) || path.node().attribute_size() != 1)
    return false;
  if (path.node().output_size() != 1 || !path.Next("Reshape")) return false;
  const auto shape = path.Integers(1);
  if (!shape || *shape != Sides{0, outputs, input.height, input.width}) return false;
  path.Take();
  reader.Add("maxout", {reader.Materialized(source)},
             [&](Layer* layer) { layer->set_pieces(static_cast<std::uint32_t>(pieces)); });
  return true;
}

// x / (k + alpha * the mean of squares around) ^ beta, zeros beyond the image included.
bool ReadLrnWithinChannel(OnnxPath& path) {
  OnnxReader& reader = path.reader();
  if (path.node().input_size() != 2 || path.node().input(0) != path.node().input(1)) return false;
  const std::string x = path.node().input(0);
  const OnnxSource* const found = reader.SourceOf(x);
  if (found == nullptr || found->form != OnnxForm::kWhole || found->padding != 0) return false;
  const OnnxSource source = *found;
  if (!path.Next("AveragePool")) return false;
  const Sides kernel = OnnxAttributes(path.node()).Ints("kernel_shape", 0, 0);
  if (kernel.size() != 2 || kernel[0] != kernel[1] || kernel[0] < 1 || kernel[0] % 2 == 0) return false;
  if (!path.Is("pads", Sides(4, (kernel[0] - 1) / 2)) || !path.Is("count_include_pad", 1, 0)) return false;
  if (path.node().attribute_size() != 3 || !path.Next("Mul")) return false;
  const auto alpha = path.Number(1);
  if (!alpha || !path.Next("Add")) return false;
  const auto k = path.Number(1);
  if (!k || !path.Next("Pow")) return false;
  const auto beta = path.Number(1);
  const std::string power = path.output();
  if (!beta || !path.Next("Div")) return false;
  if (path.node().input_size() != 2 || path.node().input(0) != x || path.node().input(1) != power) return false;
  path.Take();
  reader.Add("lrn", {source}, [&](Layer* layer) {
    layer->set_region("within_channel");
    layer->set_local_size(static_cast<std::uint32_t>(kernel[0]));
    layer->set_alpha(*alpha);
    layer->set_beta(*beta);
    layer->set_k(*k);
  });
  return true;
}

}  // namespace downpour::formats
