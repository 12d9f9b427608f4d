#include "worker/net.h"

#include <algorithm>
#include <cassert>
#include <new>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/aligned_buffer.h"
#include "kernels/vector_ops.h"
#include "worker/layers/filler.h"
#include "worker/layers/layer.h"
#include "worker/layers/table.h"
#include "worker/random.h"

namespace downpour::worker {
namespace {

constexpr std::size_t kAlignmentFloats = 16;
constexpr std::size_t kMaxSampleSize = std::size_t{1} << 30;

std::size_t Align(std::size_t size) {
  return (size + kAlignmentFloats - 1) / kAlignmentFloats * kAlignmentFloats;
}

absl::StatusOr<kernels::Shape> SampleShape(const std::vector<std::uint32_t>& sides) {
  std::size_t size = 1;
  for (const std::uint32_t side : sides) {
    if (side == 0) return absl::InvalidArgumentError("data.shape has a side of 0; each needs at least 1");
    if (side > kMaxSampleSize / size) {
      return absl::InvalidArgumentError(absl::StrCat("data.shape has more than ", kMaxSampleSize, " values"));
    }
    size *= side;
  }
  const auto side = [&](std::size_t i) { return static_cast<int>(sides[i]); };
  switch (sides.size()) {
    case 1:
      return kernels::Shape{side(0), 1, 1};
    case 2:
      return kernels::Shape{1, side(0), side(1)};
    case 3:
      return kernels::Shape{side(0), side(1), side(2)};
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("data.shape has ", sides.size(), " sides; it needs 1 to 3: channels, height, width"));
  }
}

// Of one layer's output, for a whole batch; far above what a machine has, and far below an overflow.
constexpr std::size_t kMaxActivations = std::size_t{1} << 36;

absl::Status TooLarge(int max_batch) {
  return absl::ResourceExhaustedError(absl::StrCat("no memory for the net's activations at a batch of ",
                                                   max_batch,
                                                   "; choose a smaller training.batch or smaller layers"));
}

}  // namespace

struct Net::Stage {
  std::unique_ptr<Layer> layer;
  std::vector<std::size_t> parameters;  // indices into Net::parameters_
  std::vector<ParameterSpec> specs;
  kernels::AlignedBuffer output;

  // Pieces of the flat vectors, set anew in each call.
  std::vector<std::span<const float>> values;
  std::vector<std::span<float>> gradients;
};

struct Net::Activations {
  std::unique_ptr<Loss> loss;
  // Gradients with respect to a layer's output and input, in turn.
  kernels::AlignedBuffer gradient;
  kernels::AlignedBuffer next_gradient;
};

Net::Net(kernels::Shape sample_shape, int max_batch) : sample_shape_(sample_shape), max_batch_(max_batch) {}

Net::~Net() = default;

absl::StatusOr<std::unique_ptr<Net>> Net::Create(
    const google::protobuf::RepeatedPtrField<downpour::Layer>& layers,
    const std::vector<std::uint32_t>& sample_shape, int max_batch, kernels::Device& device) {
  absl::StatusOr<kernels::Shape> shape = SampleShape(sample_shape);
  if (!shape.ok()) return shape.status();
  if (max_batch < 1) return absl::InvalidArgumentError(absl::StrCat("a net for batches of ", max_batch));
  if (layers.empty()) return absl::InvalidArgumentError("net has no layers; it needs at least a loss");
  try {
    std::unique_ptr<Net> net(new Net(*shape, max_batch));
    const absl::Status status = net->AddLayers(layers, device);
    if (!status.ok()) return status;
    return net;
  } catch (const std::bad_alloc&) {
    return TooLarge(max_batch);
  }
}

absl::Status Net::AddLayers(const google::protobuf::RepeatedPtrField<downpour::Layer>& layers,
                            kernels::Device& device) {
  std::set<std::string> names;
  kernels::Shape shape = sample_shape_;
  std::string input_name = "the input";
  std::size_t largest = 0;
  std::unique_ptr<Loss> loss;
  if (shape.size() > kMaxActivations / max_batch_) return TooLarge(max_batch_);
  for (const downpour::Layer& config : layers) {
    if (config.name().empty()) {
      return absl::InvalidArgumentError(absl::StrCat("the layer after ", input_name, " has no name"));
    }
    if (!names.insert(config.name()).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("two layers are called ", config.name(), "; each needs a name of its own"));
    }
    if (loss != nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("layer ", config.name(), " (", config.type(),
                                                     ") comes after the loss, ", input_name,
                                                     "; a net ends with its only loss"));
    }
    absl::StatusOr<AnyLayer> made = MakeLayer({config, shape, input_name, max_batch_, device});
    if (!made.ok()) return made.status();
    input_name = absl::StrCat("layer ", config.name());
    if (auto* last = std::get_if<std::unique_ptr<Loss>>(&*made)) {
      loss = std::move(*last);
      continue;
    }
    std::unique_ptr<Layer> layer = std::move(std::get<std::unique_ptr<Layer>>(*made));
    shape = layer->output();
    if (shape.size() > kMaxActivations / max_batch_) return TooLarge(max_batch_);
    largest = std::max(largest, shape.size());
    AddStage(config.name(), std::move(layer));
  }
  if (loss == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("the net ends with ", input_name, ", which is no loss; add a softmax_loss or a euclidean_loss"));
  }
  classes_ = loss->classes();
  const std::size_t gradient_size = max_batch_ * largest;
  activations_ = std::make_unique<Activations>(Activations{
      std::move(loss), kernels::AlignedBuffer(gradient_size), kernels::AlignedBuffer(gradient_size)});
  return absl::OkStatus();
}

void Net::AddStage(const std::string& name, std::unique_ptr<Layer> layer) {
  const std::size_t output_size = max_batch_ * layer->output().size();
  Stage stage{std::move(layer), {}, {}, kernels::AlignedBuffer(output_size), {}, {}};
  stage.specs = stage.layer->parameters();
  for (const ParameterSpec& spec : stage.specs) {
    stage.parameters.push_back(parameters_.size());
    parameters_.push_back(
        {absl::StrCat(name, ".", std::string(spec.name)), spec.shape, parameter_count_, spec.size()});
    parameter_count_ += Align(spec.size());
  }
  if (parameters_.size() == stage.specs.size()) first_with_parameters_ = stages_.size();
  outputs_.push_back({name, stage.layer->output()});
  stage.values.resize(stage.specs.size());
  stage.gradients.resize(stage.specs.size());
  stages_.push_back(std::move(stage));
}

void Net::Initialize(std::uint64_t seed, std::span<float> parameters) const {
  assert(parameters.size() == parameter_count_);
  kernels::Zero(parameters);
  for (const Stage& stage : stages_) {
    for (std::size_t i = 0; i < stage.specs.size(); ++i) {
      const Parameter& parameter = parameters_[stage.parameters[i]];
      Random random(seed, stage.parameters[i]);
      Fill(stage.specs[i].filler, stage.specs[i].inputs, random,
           parameters.subspan(parameter.offset, parameter.size));
    }
  }
}

kernels::ConstTensorView Net::InputOf(std::size_t stage, const Batch& batch) const {
  if (stage == 0) return {batch.features.data(), batch.size, sample_shape_};
  const Stage& before = stages_[stage - 1];
  return {before.output.data(), batch.size, before.layer->output()};
}

void Net::Forward(std::span<const float> parameters, const Batch& batch) {
  assert(parameters.size() == parameter_count_);
  assert(batch.size >= 1 && batch.size <= max_batch_);
  assert(batch.features.size() == batch.size * sample_size());
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    Stage& stage = stages_[i];
    for (std::size_t t = 0; t < stage.parameters.size(); ++t) {
      const Parameter& parameter = parameters_[stage.parameters[t]];
      stage.values[t] = parameters.subspan(parameter.offset, parameter.size);
    }
    stage.layer->Forward(InputOf(i, batch), stage.values,
                         {stage.output.data(), batch.size, stage.layer->output()});
  }
}

Evaluation Net::ForwardBackward(std::span<const float> parameters, const Batch& batch, std::span<float> gradient) {
  assert(gradient.size() == parameter_count_);
  const Evaluation result = Evaluate(parameters, batch);
  const std::size_t count = stages_.size();

  ZeroPadding(gradient);
  float* output_gradient = activations_->gradient.data();
  float* input_gradient = activations_->next_gradient.data();
  if (count > 0) {
    activations_->loss->Backward(1.0f / static_cast<float>(batch.size), batch.targets,
                                 {output_gradient, batch.size, stages_.back().layer->output()});
  }
  for (std::size_t i = count; i-- > 0;) {
    Stage& stage = stages_[i];
    for (std::size_t t = 0; t < stage.parameters.size(); ++t) {
      const Parameter& parameter = parameters_[stage.parameters[t]];
      stage.gradients[t] = gradient.subspan(parameter.offset, parameter.size);
    }
    const kernels::ConstTensorView input = InputOf(i, batch);
    const kernels::Shape& output_shape = stage.layer->output();
    // Nothing stands before the first layer that has parameters: what the loss does to its input is not
    // asked.
    const bool needed = i > first_with_parameters_;
    stage.layer->Backward(input, stage.values, {stage.output.data(), batch.size, output_shape},
                          {output_gradient, batch.size, output_shape}, stage.gradients,
                          {needed ? input_gradient : nullptr, batch.size, input.shape});
    if (!needed) break;
    std::swap(output_gradient, input_gradient);
  }
  return result;
}

Evaluation Net::Evaluate(std::span<const float> parameters, const Batch& batch) {
  assert((classes_ > 0 ? batch.targets.classes.size() : batch.targets.numbers.size()) ==
         static_cast<std::size_t>(batch.size));
  Forward(parameters, batch);
  const kernels::LossResult result = activations_->loss->Forward(InputOf(stages_.size(), batch), batch.targets);
  return {result.loss_sum, result.correct, result.weight};
}

void Net::Infer(std::span<const float> parameters, int size, std::span<const float> features) {
  Forward(parameters, Batch{.size = size, .features = features});
  inferred_ = size;
}

std::span<const float> Net::ValuesOf(std::size_t output) const {
  return {stages_[output].output.data(), inferred_ * outputs_[output].shape.size()};
}

void Net::ZeroPadding(std::span<float> values) const {
  for (const Parameter& parameter : parameters_) {
    const std::size_t end = parameter.offset + parameter.size;
    kernels::Zero(values.subspan(end, Align(end) - end));
  }
}

std::string TensorAt(const std::vector<Parameter>& parameters, std::size_t index) {
  for (const Parameter& parameter : parameters) {
    if (index >= parameter.offset && index < parameter.offset + parameter.size) {
      return absl::StrCat(parameter.name, "[", index - parameter.offset, "]");
    }
  }
  return "padding";
}

}  // namespace downpour::worker
