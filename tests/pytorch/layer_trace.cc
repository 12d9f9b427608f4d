// Runs one layer forward and backward as in training, and writes down all that another program needs to do the same:
// replay_layers_with_pytorch.py is that program.
//
//   layer_trace FOLDER LAYER SHAPE...    LAYER as in a job, without a name: 'type: pooling, kernel: 2'; a shape for
//                                        each input: '4x5x6', or '6<10' for whole numbers below 10
//   layer_trace --list                   the types of all layers
//
// Files, little endian and without headers, floats but for the last: input0.f32 and so on, output.f32,
// output_gradient.f32, input_gradient0.f32 and so on, and for each tensor of parameters weight.f32 and
// weight_gradient.f32. A loss has loss.f32 in the place of the output, the sum over the batch, of which the input's
// gradients are; and beside it weights.f32, one for each sample, and numbers.f32 or classes.i32. shapes.txt has a line
// for each of inputs, output and parameters: its name and sides.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/device.h"
#include "proto/job_config.h"
#include "worker/layers/filler.h"
#include "worker/layers/table.h"
#include "worker/random.h"

namespace downpour {
namespace {

using worker::LayerInput;
using Values = std::vector<float>;

constexpr int kBatch = 3;

// What an input looks like, and its values: whole numbers below `below`, or any between -2 and 2.
struct InputSpec {
  kernels::Shape shape;
  std::optional<int> below;
};

std::optional<InputSpec> ParseInput(const char* text) {
  InputSpec spec;
  const std::pair<std::string, std::string> halves = absl::StrSplit(text, absl::MaxSplits('<', 1));
  if (!halves.second.empty() && !absl::SimpleAtoi(halves.second, &spec.below.emplace())) return std::nullopt;
  std::vector<int> sides;
  for (const auto& side : absl::StrSplit(halves.first, 'x')) {
    if (!absl::SimpleAtoi(side, &sides.emplace_back()) || sides.back() < 1) return std::nullopt;
  }
  if (sides.size() != 1 && sides.size() != 3) return std::nullopt;
  spec.shape = sides.size() == 1 ? kernels::Shape{sides[0]} : kernels::Shape{sides[0], sides[1], sides[2]};
  return spec;
}

class Trace {
 public:
  Trace(std::string folder, const std::vector<InputSpec>& inputs) : folder_(std::move(folder)), specs_(inputs) {
    for (const InputSpec& spec : inputs) {
      Values& values = inputs_.emplace_back(kBatch * spec.shape.size());
      for (float& value : values) {
        value = spec.below ? static_cast<float>(random_.Below(*spec.below)) : 2 * random_.Symmetric();
      }
      input_gradients_.emplace_back(values.size());
      const std::size_t k = inputs_.size() - 1;
      Describe(absl::StrCat("input", k), spec.shape);
      views_.push_back({values.data(), kBatch, spec.shape});
      gradient_views_.push_back({input_gradients_.back().data(), kBatch, spec.shape});
    }
  }

  void Run(worker::Layer& layer) {
    const std::vector<worker::ParameterSpec> specs = layer.parameters();
    std::vector<Values> parameters, gradients;
    for (const worker::ParameterSpec& spec : specs) {
      Values& values = parameters.emplace_back(spec.size());
      gradients.emplace_back(spec.size());
      worker::Fill(spec, random_, values);
      for (float& value : values) value += 0.4f * random_.Symmetric();
    }
    const std::vector<std::span<const float>> values(parameters.begin(), parameters.end());
    const std::vector<std::span<float>> to(gradients.begin(), gradients.end());
    Values output(kBatch * layer.output().size()), output_gradient(output.size());
    for (float& value : output_gradient) value = random_.Symmetric();
    const std::uint64_t draw = 1;
    const kernels::TensorView view{output.data(), kBatch, layer.output()};
    layer.ForwardInTraining(views_, values, view, &draw);
    layer.Backward(views_, values, view, {output_gradient.data(), kBatch, layer.output()}, to, gradient_views_);
    Describe("output", layer.output());
    Write("output", output);
    Write("output_gradient", output_gradient);
    for (std::size_t i = 0; i < specs.size(); ++i) {
      const std::string name(specs[i].name);
      shapes_ += name;
      for (const std::uint32_t side : specs[i].shape) absl::StrAppend(&shapes_, " ", side);
      shapes_ += '\n';
      Write(name, parameters[i]);
      Write(absl::StrCat(name, "_gradient"), gradients[i]);
    }
  }

  void Run(worker::Loss& loss) {
    Values weights(kBatch), numbers(kBatch);
    std::vector<std::int32_t> classes(kBatch);
    for (float& weight : weights) weight = 1.5f + random_.Symmetric();
    for (float& number : numbers) number = random_.Symmetric();
    kernels::Targets targets{.weights = weights};
    if (loss.classes() > 0) {
      for (std::int32_t& label : classes) label = static_cast<std::int32_t>(random_.Below(loss.classes()));
      targets.classes = classes;
      Write("classes", classes, ".i32");
    } else {
      targets.numbers = numbers;
      Write("numbers", numbers);
    }
    loss.Forward(views_, targets);
    const kernels::LossResult result = loss.Result();
    loss.Backward(1, targets, gradient_views_);
    Write("loss", Values{static_cast<float>(result.loss_sum)});
    Write("weights", weights);
  }

  // Whether all could be written.
  bool Finish() {
    for (std::size_t k = 0; k < inputs_.size(); ++k) {
      Write(absl::StrCat("input", k), inputs_[k]);
      Write(absl::StrCat("input_gradient", k), input_gradients_[k]);
    }
    std::ofstream out(folder_ + "/shapes.txt");
    out << shapes_;
    return written_ && out.flush();
  }

 private:
  void Describe(const std::string& name, const kernels::Shape& shape) {
    absl::StrAppend(&shapes_, name, " ", kBatch, " ", shape.channels, " ", shape.height, " ", shape.width, "\n");
  }

  template <typename T>
  void Write(const std::string& name, const std::vector<T>& values, const char* ending = ".f32") {
    std::ofstream out(folder_ + "/" + name + ending, std::ios::binary);
    out.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(T)));
    written_ = written_ && out.flush();
  }

  const std::string folder_;
  const std::vector<InputSpec> specs_;
  worker::Random random_{1};
  std::vector<Values> inputs_, input_gradients_;
  std::vector<kernels::ConstTensorView> views_;
  std::vector<kernels::TensorView> gradient_views_;
  std::string shapes_;
  bool written_ = true;
};

absl::Status Main(const std::string& folder, const std::string& settings, std::span<const char* const> shapes) {
  const auto job = ParseJob(absl::StrCat("name: trace\nnet: [{name: layer, ", settings, "}]\n"), "layer_trace");
  if (!job.ok()) return job.status();
  std::vector<InputSpec> specs;
  std::vector<LayerInput> described;
  for (const char* text : shapes) {
    const auto spec = ParseInput(text);
    if (!spec) return absl::InvalidArgumentError(absl::StrCat("'", text, "' is no shape; 4x5x6 and 6<10 are"));
    specs.push_back(*spec);
    described.push_back({"the input", spec->shape});
  }
  const auto device = kernels::MakeDevice("cpu", {});
  if (!device.ok()) return device.status();
  auto made = worker::MakeLayer({job->net(0), described, kBatch, **device});
  if (!made.ok()) return made.status();
  Trace trace(folder, specs);
  std::visit([&](auto& layer) { trace.Run(*layer); }, *made);
  if (!trace.Finish()) return absl::NotFoundError(absl::StrCat("cannot write to ", folder, "; is it a folder?"));
  return absl::OkStatus();
}

}  // namespace
}  // namespace downpour

int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "--list") {
    for (const auto& type : downpour::worker::LayerTypes()) std::puts(std::string(type.type).c_str());
    return EXIT_SUCCESS;
  }
  if (argc < 4) {
    std::fprintf(stderr, "usage: layer_trace FOLDER LAYER SHAPE... | --list\n");
    return EXIT_FAILURE;
  }
  const absl::Status status = downpour::Main(argv[1], argv[2], std::span(argv + 3, argc - 3));
  if (!status.ok()) std::fprintf(stderr, "layer_trace: %s\n", std::string(status.message()).c_str());
  return status.ok() ? EXIT_SUCCESS : EXIT_FAILURE;
}
