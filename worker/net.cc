#include "worker/net.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <limits>
#include <new>
#include <set>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/vector_ops.h"
#include "worker/layers/filler.h"
#include "worker/layers/layer.h"
#include "worker/layers/table.h"
#include "worker/net_graph.h"
#include "worker/random.h"
#include "worker/sample_shape.h"

namespace downpour::worker {
namespace {

constexpr std::size_t kAlignmentFloats = 16;
constexpr int kLoss = -2;  // in the place of a stage

std::size_t Align(std::size_t size) {
  return (size + kAlignmentFloats - 1) / kAlignmentFloats * kAlignmentFloats;
}

// Of one layer's output, for a whole batch; far above what a machine has, and far below an overflow.
constexpr std::size_t kMaxActivations = std::size_t{1} << 36;

// Values of one layer for one sample: ops count them in ints.
constexpr std::size_t kMaxSample = std::numeric_limits<std::int32_t>::max();

absl::Status TooLarge(int max_batch) {
  return absl::ResourceExhaustedError(absl::StrCat("no memory for the net's activations at a batch of ",
                                                   max_batch,
                                                   "; choose a smaller training.batch or smaller layers"));
}

}  // namespace

struct Net::Inputs {
  explicit Inputs(std::vector<int> all) : from(std::move(all)), values(from.size()), gradients(from.size()) {}

  std::vector<int> from;  // stages before, or kSamples

  // Set anew in each call.
  std::vector<kernels::ConstTensorView> values;
  std::vector<kernels::TensorView> gradients;
};

struct Net::Stage {
  Inputs inputs;
  std::unique_ptr<Layer> layer;
  std::vector<std::size_t> parameters;  // indices into Net::parameters_
  std::vector<ParameterSpec> specs;
  kernels::Buffer output;

  // Pieces of what is given, set anew in each call.
  std::vector<std::span<const float>> values;
  std::vector<std::span<float>> gradients;
};

struct Net::Head {
  std::string name;
  Inputs inputs;
  float weight = 1;  // on the loss
  std::unique_ptr<Loss> loss;
};

struct Net::Mirrors {
  std::unique_ptr<kernels::Mirror> parameters, gradient, features, classes, numbers, weights, draws;
  std::vector<std::unique_ptr<kernels::Mirror>> outputs;  // of the stages whose values were asked for
};

Net::Net(kernels::Shape sample_shape, int max_batch, kernels::Device& device)
    : device_(device), sample_shape_(sample_shape), max_batch_(max_batch) {}

Net::~Net() = default;

absl::StatusOr<std::unique_ptr<Net>> Net::Create(
    const google::protobuf::RepeatedPtrField<downpour::Layer>& layers,
    const std::vector<std::uint32_t>& sample_shape, int max_batch, kernels::Device& device) {
  absl::StatusOr<kernels::Shape> shape = SampleShape(sample_shape);
  if (!shape.ok()) return shape.status();
  if (max_batch < 1) return absl::InvalidArgumentError(absl::StrCat("a net for batches of ", max_batch));
  if (layers.empty()) return absl::InvalidArgumentError("net has no layers; it needs at least a loss");
  try {
    std::unique_ptr<Net> net(new Net(*shape, max_batch, device));
    const absl::Status status = net->AddLayers(layers);
    if (!status.ok()) return status;
    return net;
  } catch (const std::bad_alloc&) {
    return TooLarge(max_batch);
  }
}

absl::Status Net::AddLayers(const google::protobuf::RepeatedPtrField<downpour::Layer>& layers) {
  const auto order = OrderLayers(layers);
  if (!order.ok()) return order.status();
  if (sample_shape_.size() > kMaxActivations / max_batch_) return TooLarge(max_batch_);
  std::vector<int> stage_of(order->size());
  for (std::size_t place = 0; place < order->size(); ++place) {
    const GraphNode& node = (*order)[place];
    const downpour::Layer& config = layers[node.layer];
    std::vector<int> inputs;
    std::vector<LayerInput> described;
    for (const int from : node.inputs) {
      const int input = from == kSamples ? kSamples : stage_of[from];
      if (input == kLoss) {
        return absl::InvalidArgumentError(absl::StrCat("layer ", config.name(), " (", config.type(),
                                                       ") comes after the loss, layer ",
                                                       layers[(*order)[from].layer].name(),
                                                       ", which has no values to take"));
      }
      inputs.push_back(input);
      described.push_back(DescriptionOf(input));
    }
    absl::StatusOr<AnyLayer> made = MakeLayer({config, described, max_batch_, device_});
    if (!made.ok()) return made.status();
    if (auto* loss = std::get_if<std::unique_ptr<Loss>>(&*made)) {
      const float weight = config.has_loss_weight() ? config.loss_weight() : 1;
      if (absl::Status status = AddHead({config.name(), Inputs(std::move(inputs)), weight, std::move(*loss)});
          !status.ok()) {
        return status;
      }
      stage_of[place] = kLoss;
      continue;
    }
    std::unique_ptr<Layer> layer = std::move(std::get<std::unique_ptr<Layer>>(*made));
    if (layer->output().size() > std::min(kMaxActivations / max_batch_, kMaxSample)) return TooLarge(max_batch_);
    stage_of[place] = static_cast<int>(stages_.size());
    AddStage(config.name(), std::move(inputs), std::move(layer));
  }
  if (heads_.empty()) {
    const std::string last = DescriptionOf(static_cast<int>(stages_.size()) - 1).name;
    return absl::InvalidArgumentError(
        absl::StrCat("the net ends with ", last, ", which is no loss; add a softmax_loss or a euclidean_loss"));
  }
  if (const absl::Status status = CheckAllAreUsed(); !status.ok()) return status;
  if (const absl::Status status = CheckNames(); !status.ok()) return status;
  MakeMemory();
  return absl::OkStatus();
}

absl::Status Net::AddHead(Head head) {
  if (!heads_.empty() && head.loss->classes() != classes_) {
    const auto labels = [](const Head& of) {
      return of.loss->classes() > 0 ? absl::StrCat(of.loss->classes(), " classes") : std::string("numbers");
    };
    const Head& before = heads_.back();
    return absl::InvalidArgumentError(absl::StrCat("the labels of layer ", before.name, " are ", labels(before),
                                                   ", those of layer ", head.name, " ", labels(head),
                                                   "; all losses of a net have the same"));
  }
  classes_ = head.loss->classes();
  heads_.push_back(std::move(head));
  return absl::OkStatus();
}

void Net::AddStage(const std::string& name, std::vector<int> inputs, std::unique_ptr<Layer> layer) {
  outputs_.push_back({name, layer->output()});
  Stage stage{.inputs = Inputs(std::move(inputs)),
              .layer = std::move(layer),
              .output = device_.MakeBuffer(max_batch_ * outputs_.back().shape.size())};
  stage.specs = stage.layer->parameters();
  for (const ParameterSpec& spec : stage.specs) {
    stage.parameters.push_back(parameters_.size());
    parameters_.push_back(
        {absl::StrCat(name, ".", std::string(spec.name)), spec.shape, parameter_count_, spec.size(), spec.average});
    parameter_count_ += Align(spec.size());
  }
  stage.values.resize(stage.specs.size());
  stage.gradients.resize(stage.specs.size());
  stages_.push_back(std::move(stage));
}

absl::Status Net::CheckAllAreUsed() const {
  std::vector<bool> used(stages_.size());
  const auto use = [&used](const Inputs& inputs) {
    for (const int input : inputs.from) {
      if (input != kSamples) used[input] = true;
    }
  };
  for (const Stage& stage : stages_) use(stage.inputs);
  for (const Head& head : heads_) use(head.inputs);
  const auto unused = std::ranges::find(used, false);
  if (unused == used.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("nobody takes the values of ",
                                                 DescriptionOf(static_cast<int>(unused - used.begin())).name,
                                                 "; all that a net computes should lead to a loss"));
}

absl::Status Net::CheckNames() const {
  std::set<std::string_view> names;
  for (const Parameter& parameter : parameters_) {
    if (!names.insert(parameter.name).second) {
      return absl::InvalidArgumentError(absl::StrCat("two tensors of parameters are called ", parameter.name,
                                                     "; give one of the layers another name"));
    }
  }
  return absl::OkStatus();
}

void Net::MakeMemory() {
  std::vector<PlannedStage> planned;
  for (const Stage& stage : stages_) {
    planned.push_back({stage.inputs.from, stage.layer->output().size(), !stage.specs.empty(),
                       stage.layer->gradient_in_place()});
  }
  for (const Head& head : heads_) planned.push_back({head.inputs.from});
  plan_ = PlanGradients(planned);
  for (const std::size_t size : plan_.buffers) gradients_.push_back(device_.MakeBuffer(max_batch_ * size));
  draws_.resize(stages_.size());
  const auto mirror = [this](std::size_t values) { return device_.MakeMirror(values * sizeof(float)); };
  mirrors_ = std::make_unique<Mirrors>();
  mirrors_->parameters = mirror(parameter_count_);
  mirrors_->gradient = mirror(parameter_count_);
  mirrors_->features = mirror(max_batch_ * sample_size());
  for (auto* each : {&mirrors_->classes, &mirrors_->numbers, &mirrors_->weights}) *each = mirror(max_batch_);
  mirrors_->draws = device_.MakeMirror(draws_.size() * sizeof(draws_[0]));
  mirrors_->outputs.resize(stages_.size());
  recording_ = device_.MakeRecording();
}

LayerInput Net::DescriptionOf(int input) const {
  return {input == kSamples ? "the input" : absl::StrCat("layer ", outputs_[input].layer), ShapeOf(input)};
}

const kernels::Shape& Net::ShapeOf(int input) const {
  return input == kSamples ? sample_shape_ : outputs_[input].shape;
}

void Net::Initialize(std::uint64_t seed, std::span<float> parameters) const {
  assert(parameters.size() == parameter_count_);
  kernels::Zero(parameters);
  for (const Stage& stage : stages_) {
    for (std::size_t i = 0; i < stage.specs.size(); ++i) {
      const Parameter& parameter = parameters_[stage.parameters[i]];
      Random random(seed, stage.parameters[i]);
      Fill(stage.specs[i], random, parameters.subspan(parameter.offset, parameter.size));
    }
  }
}

void Net::TakeValues(const Batch& batch, Inputs* inputs) const {
  for (std::size_t k = 0; k < inputs->from.size(); ++k) {
    const int input = inputs->from[k];
    const float* values = input == kSamples ? batch.features.data() : stages_[input].output.data();
    inputs->values[k] = {values, batch.size, ShapeOf(input)};
  }
}

Batch Net::Import(const Batch& batch) {
  assert(batch.size >= 1 && batch.size <= max_batch_);
  assert(batch.features.size() == batch.size * sample_size());
  Batch imported = batch;
  imported.features = mirrors_->features->Import(batch.features);
  imported.targets.classes = mirrors_->classes->Import(batch.targets.classes);
  imported.targets.numbers = mirrors_->numbers->Import(batch.targets.numbers);
  imported.targets.weights = mirrors_->weights->Import(batch.targets.weights);
  return imported;
}

std::span<const std::uint64_t> Net::Draws(const Batch& batch) {
  for (std::size_t i = 0; i < draws_.size(); ++i) draws_[i] = Random(batch.draw, i).Next();
  return mirrors_->draws->Import(std::span<const std::uint64_t>(draws_));
}

void Net::Run(const Work& work) {
  const auto run = [&] {
    Forward(work);
    MeasureLoss(work.batch);
    if (work.gradient.empty()) return;
    for (std::size_t i = heads_.size(); i-- > 0;) BackwardOfLoss(i, work.batch);
    for (std::size_t i = stages_.size(); i-- > 0;) {
      if (!plan_.stages[i].inputs.empty()) Backward(i, work.batch, work.gradient);
    }
  };
  if (work.batch.size < max_batch_) return run();
  const auto at = [](auto values) { return reinterpret_cast<std::uintptr_t>(values.data()); };
  const kernels::Targets& targets = work.batch.targets;
  const std::array<std::uintptr_t, 7> key = {at(work.parameters), at(work.gradient),   at(work.batch.features),
                                             at(targets.classes), at(targets.numbers), at(targets.weights),
                                             at(work.draws)};
  recording_->Run(key, run);
}

void Net::Forward(const Work& work) {
  assert(work.parameters.size() == parameter_count_);
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    Stage& stage = stages_[i];
    for (std::size_t t = 0; t < stage.parameters.size(); ++t) {
      const Parameter& parameter = parameters_[stage.parameters[t]];
      stage.values[t] = work.parameters.subspan(parameter.offset, parameter.size);
    }
    TakeValues(work.batch, &stage.inputs);
    const kernels::TensorView output{stage.output.data(), work.batch.size, outputs_[i].shape};
    if (!work.gradient.empty()) {
      stage.layer->ForwardInTraining(stage.inputs.values, stage.values, output, &work.draws[i]);
    } else {
      stage.layer->Forward(stage.inputs.values, stage.values, output);
    }
  }
}

Evaluation Net::ForwardBackward(std::span<const float> parameters, const Batch& batch, std::span<float> gradient) {
  assert(gradient.size() == parameter_count_);
  StartForwardBackward(mirrors_->parameters->Import(parameters), batch, mirrors_->gradient->Target(gradient));
  mirrors_->gradient->Export(gradient);
  const Evaluation result = Result();
  device_.Wait();
  ZeroPadding(gradient);
  return result;
}

void Net::BackwardOfLoss(std::size_t head_index, const Batch& batch) {
  Head& head = heads_[head_index];
  const GradientPlan::Stage& planned = plan_.stages[stages_.size() + head_index];
  TakeGradients(planned, batch.size, &head.inputs);
  head.loss->Backward(head.weight / static_cast<float>(batch.size), batch.targets, head.inputs.gradients);
  AddUp(planned, head.inputs);
}

void Net::Backward(std::size_t stage_index, const Batch& batch, std::span<float> gradient) {
  Stage& stage = stages_[stage_index];
  const GradientPlan::Stage& planned = plan_.stages[stage_index];
  for (std::size_t t = 0; t < stage.parameters.size(); ++t) {
    const Parameter& parameter = parameters_[stage.parameters[t]];
    stage.gradients[t] = gradient.subspan(parameter.offset, parameter.size);
  }
  TakeGradients(planned, batch.size, &stage.inputs);
  const kernels::Shape& shape = outputs_[stage_index].shape;
  stage.layer->Backward(stage.inputs.values, stage.values, {stage.output.data(), batch.size, shape},
                        {gradients_[planned.buffer].data(), batch.size, shape}, stage.gradients,
                        stage.inputs.gradients);
  AddUp(planned, stage.inputs);
}

void Net::TakeGradients(const GradientPlan::Stage& planned, int batch_size, Inputs* inputs) const {
  for (std::size_t k = 0; k < inputs->from.size(); ++k) {
    const int buffer = planned.inputs[k].buffer;
    inputs->gradients[k] = {buffer == GradientPlan::kNone ? nullptr : gradients_[buffer].data(), batch_size,
                            ShapeOf(inputs->from[k])};
  }
}

void Net::AddUp(const GradientPlan::Stage& planned, const Inputs& inputs) {
  for (std::size_t k = 0; k < inputs.from.size(); ++k) {
    const int sum = planned.inputs[k].add_to;
    if (sum == GradientPlan::kNone) continue;
    device_.Axpy(1, inputs.gradients[k].values(), {gradients_[sum].data(), inputs.gradients[k].size()});
  }
}

void Net::StartForwardBackward(std::span<const float> parameters, const Batch& batch, std::span<float> gradient) {
  Run({parameters, Import(batch), Draws(batch), gradient});
}

Evaluation Net::Evaluate(std::span<const float> parameters, const Batch& batch) {
  Run({mirrors_->parameters->Import(parameters), Import(batch)});
  return Result();
}

void Net::MeasureLoss(const Batch& batch) {
  assert((classes_ > 0 ? batch.targets.classes.size() : batch.targets.numbers.size()) ==
         static_cast<std::size_t>(batch.size));
  for (Head& head : heads_) {
    TakeValues(batch, &head.inputs);
    head.loss->Forward(head.inputs.values, batch.targets);
  }
}

Evaluation Net::Result() {
  Evaluation sum;
  for (const Head& head : heads_) {
    const kernels::LossResult result = head.loss->Result();
    sum = {sum.loss_sum + head.weight * result.loss_sum, result.correct, result.weight};
  }
  return sum;
}

int Net::top_k() const { return heads_.back().loss->top_k(); }

std::optional<std::size_t> Net::scores() const {
  const int input = heads_.back().inputs.from.front();
  return input == kSamples ? std::nullopt : std::optional<std::size_t>(input);
}

void Net::Infer(std::span<const float> parameters, int size, std::span<const float> features) {
  Forward({mirrors_->parameters->Import(parameters), Import({.size = size, .features = features})});
  inferred_ = size;
}

std::span<const float> Net::ValuesOf(std::size_t output) {
  std::unique_ptr<kernels::Mirror>& mirror = mirrors_->outputs[output];
  const kernels::Buffer& values = stages_[output].output;
  if (mirror == nullptr) mirror = device_.MakeMirror(values.size() * sizeof(float));
  return mirror->ToHost(std::span<const float>(values.data(), inferred_ * outputs_[output].shape.size()));
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
