#include "worker/formats/onnx_import.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/limits.h"
#include "worker/formats/job_names.h"
#include "worker/formats/net_ends.h"

namespace downpour::formats {
namespace {

constexpr int kMostNested = 32;
constexpr int kNewestOpset = 25;
constexpr std::int64_t kMostSide = 65536;

absl::StatusOr<onnx::ModelProto> Parse(absl::string_view bytes) {
  google::protobuf::io::ArrayInputStream array(bytes.data(), static_cast<int>(bytes.size()));
  google::protobuf::io::CodedInputStream in(&array);
  in.SetRecursionLimit(kMostNested);
  onnx::ModelProto model;
  if (!model.ParseFromCodedStream(&in) || !in.ConsumedEntireMessage()) {
    return absl::InvalidArgumentError("is no ONNX, or damaged");
  }
  return model;
}

// The one input that is no constant.
absl::StatusOr<const onnx::ValueInfoProto*> InputOf(const onnx::GraphProto& graph) {
  std::set<std::string> constants;
  for (const onnx::TensorProto& constant : graph.initializer()) constants.insert(constant.name());
  const onnx::ValueInfoProto* found = nullptr;
  for (const onnx::ValueInfoProto& input : graph.input()) {
    if (constants.count(input.name()) > 0) continue;
    if (found != nullptr) return absl::InvalidArgumentError("has several inputs; a net here has one");
    found = &input;
  }
  if (found == nullptr) return absl::InvalidArgumentError("has no input");
  return found;
}

// The sides after the batch's; none where one is not said.
std::vector<std::uint32_t> SidesOf(const onnx::ValueInfoProto& input) {
  std::vector<std::uint32_t> sides;
  const auto& all = input.type().tensor_type().shape().dim();
  for (int i = 1; i < all.size(); ++i) {
    if (all[i].dim_value() < 1 || all[i].dim_value() > kMostSide) return {};
    sides.push_back(static_cast<std::uint32_t>(all[i].dim_value()));
  }
  return sides;
}

absl::StatusOr<kernels::Shape> CheckedShape(const std::vector<std::uint32_t>& sides) {
  if (sides.empty() || sides.size() > 3) {
    return absl::InvalidArgumentError("does not say how large a sample is; --shape does, as in --shape 3,32,32");
  }
  // A net of no layers has the shape's limits.
  const auto outline = worker::OutlineNet({}, sides);
  if (!outline.ok()) return outline.status();
  return outline->sample;
}

bool ReadPattern(const onnx::NodeProto& node, OnnxReader* reader) {
  return std::ranges::any_of(OnnxPatterns(), [&](const OnnxPattern& pattern) {
    if (pattern.op != node.op_type()) return false;
    OnnxPath path(*reader);
    return pattern.read(path);
  });
}

void ReadNodes(const onnx::GraphProto& graph, OnnxReader* reader) {
  for (const onnx::NodeProto& node : graph.node()) {
    if (reader->HasBegun(node)) continue;  // with one before it
    reader->Begin(node);
    if (reader->layers() >= kMaxLayers) return reader->Mistake(absl::StrCat("is more than the limit of ", kMaxLayers));
    if (reader->IsOfShapes()) continue;
    const bool foreign = !node.domain().empty() && node.domain() != "ai.onnx";
    if (!foreign && ReadPattern(node, reader)) continue;
    const auto imports = OnnxImports();
    const auto type = std::ranges::find(imports, std::string_view(node.op_type()), &OnnxImport::op);
    if (type == imports.end() || foreign) {
      reader->Mistake("this operator is not known");
      continue;
    }
    type->read(*reader);
  }
}

// Puts a constant where the outline has the parameter.
absl::Status Fill(const OnnxWeight& weight, const worker::Parameter& parameter, std::vector<float>* values) {
  if (weight.made) {
    std::ranges::copy(*weight.made, values->begin() + static_cast<std::ptrdiff_t>(parameter.offset));
    return absl::OkStatus();
  }
  if (weight.tensor == nullptr) return absl::OkStatus();  // zeros
  const auto given = FloatsOf(*weight.tensor);
  if (!given.ok()) return given.status();
  if (weight.spread && given->size() == 1) {
    std::fill_n(values->begin() + static_cast<std::ptrdiff_t>(parameter.offset), parameter.size, given->front());
    return absl::OkStatus();
  }
  if (given->size() != parameter.size) {
    return absl::InvalidArgumentError(absl::StrCat("has ", given->size(), " values; the net has ", parameter.size));
  }
  float* const to = values->data() + parameter.offset;
  if (!weight.transposed) {
    std::ranges::copy(*given, to);
    return absl::OkStatus();
  }
  const std::size_t outputs = parameter.shape[0], inputs = parameter.size / outputs;
  for (std::size_t o = 0; o < outputs; ++o) {
    for (std::size_t i = 0; i < inputs; ++i) to[o * inputs + i] = (*given)[i * outputs + o];
  }
  return absl::OkStatus();
}

// Nothing is allocated before all parameters were found to be as many values as the file has.
absl::Status FillParameters(const OnnxReader& reader, Model* model) {
  std::vector<std::pair<const worker::Parameter*, OnnxWeight>> found;
  for (const worker::Parameter& parameter : model->outline.parameters) {
    const auto weight = reader.weights().find(parameter.name);
    if (weight == reader.weights().end()) return absl::InvalidArgumentError(absl::StrCat("has nothing for ", parameter.name));
    if (weight->second.made && weight->second.made->size() != parameter.size) {
      return absl::InvalidArgumentError(absl::StrCat(parameter.name, ": the file has ", weight->second.made->size(),
                                                     " values; the net has ", absl::StrJoin(parameter.shape, "x")));
    }
    const std::size_t wanted = weight->second.spread ? 1 : parameter.size;
    if (weight->second.tensor != nullptr && CountOf(*weight->second.tensor) != wanted) {
      return absl::InvalidArgumentError(absl::StrCat(parameter.name, ": the constant '",
                                                     absl::CHexEscape(weight->second.tensor->name().substr(0, 100)), "' is ",
                                                     absl::StrJoin(weight->second.tensor->dims(), "x"), "; the net has ",
                                                     absl::StrJoin(parameter.shape, "x")));
    }
    if (weight->second.tensor != nullptr) {
      if (const auto checked = FloatsOf(*weight->second.tensor); !checked.ok()) {
        return absl::InvalidArgumentError(absl::StrCat(parameter.name, ": ", checked.status().message()));
      }
    }
    found.emplace_back(&parameter, weight->second);
  }
  model->values.resize(model->outline.parameter_count);
  for (const auto& [parameter, weight] : found) {
    if (absl::Status status = Fill(weight, *parameter, &model->values); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::StatusOr<Model> Read(const onnx::ModelProto& file_model, const std::string& file,
                           const std::vector<std::uint32_t>& shape) {
  const onnx::GraphProto& graph = file_model.graph();
  std::int64_t opset = 1;
  for (const onnx::OperatorSetIdProto& operators : file_model.opset_import()) {
    if (operators.domain().empty()) opset = operators.version();
  }
  if (opset > kNewestOpset) {
    return absl::InvalidArgumentError(
        absl::StrCat("has operators of set ", opset, "; known are those up to ", kNewestOpset));
  }
  const auto input = InputOf(graph);
  if (!input.ok()) return input.status();
  const std::vector<std::uint32_t> sides = shape.empty() ? SidesOf(**input) : shape;
  const auto sample = CheckedShape(sides);
  if (!sample.ok()) return sample.status();
  const auto device = kernels::MakeDevice("reference", {});
  if (!device.ok()) return device.status();
  OnnxReader reader(graph, opset, file, *sample, **device);
  reader.job().mutable_data()->mutable_shape()->Assign(sides.begin(), sides.end());
  reader.job().mutable_data()->set_scale(1);
  ReadNodes(graph, &reader);
  if (!reader.mistakes().empty()) return reader.mistakes().ToStatus();
  if (graph.output_size() == 0 || reader.layers() == 0) return absl::InvalidArgumentError("computes nothing");
  const auto output = reader.sources().find(graph.output(0).name());
  if (output == reader.sources().end() || output->second.place < 0) {
    return absl::InvalidArgumentError("its output is no node's");
  }
  Model model{.job = std::move(reader.job())};
  model.job.set_name(JobName(graph.name().empty() ? "onnx" : graph.name()));
  const std::string answer = model.job.net(output->second.place).name();
  if (absl::Status status = FinishNet(model.job.mutable_net(), &model.notes, answer); !status.ok()) return status;
  auto outline = worker::OutlineNet(model.job.net(), sides);
  if (!outline.ok()) return outline.status();
  model.outline = *std::move(outline);
  if (absl::Status status = FillParameters(reader, &model); !status.ok()) return status;
  return model;
}

}  // namespace

absl::StatusOr<Model> FromOnnx(absl::string_view bytes, const std::string& file, const std::vector<std::uint32_t>& shape) {
  const auto parsed = Parse(bytes);
  auto model = parsed.ok() ? Read(*parsed, file, shape) : absl::StatusOr<Model>(parsed.status());
  if (model.ok() || absl::StartsWith(model.status().message(), file)) return model;
  return absl::Status(model.status().code(), absl::StrCat(file, ": ", model.status().message()));
}

}  // namespace downpour::formats
