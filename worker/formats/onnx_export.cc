#include "worker/formats/onnx_export.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"

namespace downpour::formats {
namespace {

constexpr int kIrVersion = 8;

// Places in the outline of the layers that lead to this one, it included.
std::set<int> LeadingTo(const worker::NetOutline& net, int place) {
  std::set<int> all;
  std::vector<int> open = {place};
  while (!open.empty()) {
    const int next = open.back();
    open.pop_back();
    if (next == worker::kSamples || !all.insert(next).second) continue;
    const std::vector<int>& inputs = net.layers[next].inputs;
    open.insert(open.end(), inputs.begin(), inputs.end());
  }
  return all;
}

// What the last loss takes first, or the last layer where there is no loss.
int AnswerOf(const worker::NetOutline& net) {
  for (auto layer = net.layers.rbegin(); layer != net.layers.rend(); ++layer) {
    if (layer->loss) return layer->inputs.front();
  }
  return static_cast<int>(net.layers.size()) - 1;
}

const OnnxExport* Find(const std::string& type) {
  const auto exports = OnnxExports();
  const auto found = std::ranges::find(exports, std::string_view(type), &OnnxExport::type);
  return found == exports.end() ? nullptr : &*found;
}

// Samples as the net takes them: without their mean, and scaled. What a job cuts out of them is the caller's business, as
// they are.
OnnxValue AddSamples(const Job& job, const worker::NetOutline& net, OnnxWriter* out, onnx::GraphProto* graph) {
  OnnxValue samples{std::string(worker::kSamplesName), net.sample, job.data().shape_size() == 1};
  SetShape(samples, graph->add_input());
  const auto& mean = job.data().transforms().mean();
  if (std::ranges::any_of(mean, [](float value) { return value != 0; })) {
    const std::string centred = absl::StrCat(samples.name, "/centred");
    std::vector<std::int64_t> sides;
    if (mean.size() > 1) sides = {mean.size()};
    if (mean.size() > 1 && !samples.flat) sides.insert(sides.end(), {1, 1});
    out->Add("Sub", centred, {samples.name, out->Constant(centred + ".mean", sides, {mean.begin(), mean.end()})});
    samples.name = centred;
  }
  if (job.data().scale() == 1) return samples;
  const std::string scaled = absl::StrCat(samples.name, "/scaled");
  out->Add("Mul", scaled, {samples.name, out->Constant(scaled + ".scale", {}, {job.data().scale()})});
  samples.name = scaled;
  return samples;
}

}  // namespace

absl::StatusOr<std::string> ToOnnx(const Job& job, const Model& model) {
  const worker::NetOutline& net = model.outline;
  const int answer = AnswerOf(net);
  if (answer == worker::kSamples) return absl::UnimplementedError("the net's last loss takes the samples: there is no answer");
  const std::set<int> wanted = LeadingTo(net, answer);
  onnx::ModelProto written;
  written.set_ir_version(kIrVersion);
  written.set_producer_name("downpour");
  onnx::GraphProto* const graph = written.mutable_graph();
  graph->set_name(job.name());
  OnnxWriter out(model, graph);
  const OnnxValue samples = AddSamples(job, net, &out, graph);
  std::vector<OnnxValue> values(net.layers.size());
  int opset = 13;
  for (const int place : wanted) {
    const worker::LayerOutline& outline = net.layers[place];
    const OnnxExport* const type = Find(outline.type);
    const std::string who = absl::StrCat("layer ", outline.name, " (", outline.type, "): ");
    if (type == nullptr) return absl::UnimplementedError(absl::StrCat(who, "is not written as ONNX"));
    OnnxLayer layer{.config = job.net(outline.layer), .outline = outline};
    for (const int input : outline.inputs) layer.inputs.push_back(input == worker::kSamples ? samples : values[input]);
    const auto flat = type->write(out, layer);
    if (!flat.ok()) return absl::Status(flat.status().code(), absl::StrCat(who, flat.status().message()));
    values[place] = {outline.name, outline.output, *flat};
    opset = std::max(opset, type->opset);
  }
  SetShape(values[answer], graph->add_output());
  onnx::OperatorSetIdProto* const operators = written.add_opset_import();
  operators->set_version(opset);
  std::string bytes;
  if (written.ByteSizeLong() > static_cast<std::size_t>(INT32_MAX) || !written.SerializeToString(&bytes)) {
    return absl::UnimplementedError("the model has more than 2 GiB, which a file of ONNX can't hold");
  }
  return bytes;
}

}  // namespace downpour::formats
