// A graph of layers, from the samples to one or more losses, whose parameters are one flat vector.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/buffer.h"
#include "kernels/device.h"
#include "proto/job.pb.h"
#include "worker/batch.h"
#include "worker/evaluation.h"
#include "worker/gradient_plan.h"

namespace downpour::worker {

class Layer;
struct LayerInput;

// A tensor within the flat vector of parameters.
struct Parameter {
  std::string name;  // "conv1.weight"
  std::vector<std::uint32_t>
      shape;               // convolution {out, in, height, width}, inner product {out, in}, bias {out}
  std::size_t offset = 0;  // in floats, a multiple of 16
  std::size_t size = 0;    // in floats
  bool average = false;    // a running average, not trained: its gradient is what a step takes from it
};

// Owns its layers and all activations, sized at creation for batches of up to `max_batch`: later calls
// allocate nothing. Parameters, gradients and batches are the caller's, and in the host's memory except where said:
// parameter_count() floats, best aligned to 64 bytes. One thread at a time may compute; the const members may be called
// from any.
class Net {
 public:
  // Fails with kInvalidArgument where the layers do not fit each other, naming them. The device must outlive
  // the net.
  static absl::StatusOr<std::unique_ptr<Net>> Create(
      const google::protobuf::RepeatedPtrField<downpour::Layer>& layers,
      const std::vector<std::uint32_t>& sample_shape, int max_batch, kernels::Device& device);
  ~Net();

  Net(const Net&) = delete;
  Net& operator=(const Net&) = delete;

  // Fills the vector by each layer's filler: biases and padding zero. The same seed gives the same bits
  // anywhere.
  void Initialize(std::uint64_t seed, std::span<float> parameters) const;

  // The loss over the batch, in training, which is the sum of all losses, each times its weight; what is correct is
  // what the last of them says. Overwrites `gradient` with the derivative of its sum divided by the batch's size (zero in
  // the padding). Classes must lie in [0, classes()) and batch.size in [1, max_batch()]. What is not finite passes
  // through: check the result.
  Evaluation ForwardBackward(std::span<const float> parameters, const Batch& batch, std::span<float> gradient);

  // The same where nothing is trained.
  Evaluation Evaluate(std::span<const float> parameters, const Batch& batch);

  // ForwardBackward with parameters and gradient in the device's memory: asks the device for it and returns. Leaves the
  // padding of the gradient alone.
  void StartForwardBackward(std::span<const float> parameters, const Batch& batch, std::span<float> gradient);
  // What came of the last StartForwardBackward, for which it waits.
  Evaluation Result();

  // A layer's values for a batch of which nothing but the features is used; the loss has none.
  struct Output {
    std::string layer;
    kernels::Shape shape;  // of one sample
  };
  const std::vector<Output>& outputs() const { return outputs_; }
  // The one that the last loss takes, such as the classes' scores, and of several the first; none where that is the
  // samples.
  std::optional<std::size_t> scores() const;
  // Computes all layers' values.
  void Infer(std::span<const float> parameters, int size, std::span<const float> features);
  // Those of the layer at `output` in outputs(), of the last Infer: sample by sample. Good until the next Infer. The
  // first call for an output may take memory.
  std::span<const float> ValuesOf(std::size_t output);

  // Floats in the flat vector, padding included.
  std::size_t parameter_count() const { return parameter_count_; }
  // In the order of the vector, which is the order in which a forward pass reads them.
  const std::vector<Parameter>& parameters() const { return parameters_; }
  // 0 where labels are numbers.
  int classes() const { return classes_; }
  // Of the last loss: a sample is correct where its class is among so many of the likeliest.
  int top_k() const;
  // Values in one sample.
  std::size_t sample_size() const { return sample_shape_.size(); }
  int max_batch() const { return max_batch_; }

 private:
  struct Inputs;  // of a layer or a loss
  struct Stage;   // a layer, its inputs, its place in the vector and its output
  struct Head;    // a loss and its inputs
  struct Mirrors;  // of what comes from the caller and goes to it

  Net(kernels::Shape sample_shape, int max_batch, kernels::Device& device);
  absl::Status AddLayers(const google::protobuf::RepeatedPtrField<downpour::Layer>& layers);
  absl::Status AddHead(Head head);
  void AddStage(const std::string& name, std::vector<int> inputs, std::unique_ptr<Layer> layer);
  absl::Status CheckAllAreUsed() const;
  absl::Status CheckNames() const;
  void MakeMemory();

  // From here on parameters, gradients and batches lie in the device's memory.
  struct Work {
    std::span<const float> parameters;
    Batch batch;
    std::span<const std::uint64_t> draws = {};  // one for each stage; none where nothing is trained
    std::span<float> gradient = {};             // likewise
  };
  Batch Import(const Batch& batch);
  std::span<const std::uint64_t> Draws(const Batch& batch);
  void Run(const Work& work);
  void Forward(const Work& work);
  void MeasureLoss(const Batch& batch);
  // Of a stage, or of the samples.
  LayerInput DescriptionOf(int input) const;
  const kernels::Shape& ShapeOf(int input) const;
  void TakeValues(const Batch& batch, Inputs* inputs) const;
  void Backward(std::size_t stage, const Batch& batch, std::span<float> gradient);
  void BackwardOfLoss(std::size_t head, const Batch& batch);
  // Their gradients, as planned: empty where there is no buffer.
  void TakeGradients(const GradientPlan::Stage& planned, int batch_size, Inputs* inputs) const;
  void AddUp(const GradientPlan::Stage& planned, const Inputs& inputs);
  void ZeroPadding(std::span<float> values) const;

  kernels::Device& device_;

  // Constant after creation.
  const kernels::Shape sample_shape_;
  const int max_batch_;
  int classes_ = 0;
  std::vector<Output> outputs_;
  std::size_t parameter_count_ = 0;
  std::vector<Parameter> parameters_;
  GradientPlan plan_;  // of all stages, then the losses

  // Written by each call.
  std::vector<Stage> stages_;
  int inferred_ = 0;  // samples in the last Infer
  std::vector<Head> heads_;
  std::vector<kernels::Buffer> gradients_;  // as planned
  std::vector<std::uint64_t> draws_;        // one for each stage
  std::unique_ptr<Mirrors> mirrors_;
  std::unique_ptr<kernels::Recording> recording_;  // of whole batches
};

// The name of the tensor that holds index `index` of the flat vector, as "conv1.weight[17]"; "padding"
// between two.
std::string TensorAt(const std::vector<Parameter>& parameters, std::size_t index);

}  // namespace downpour::worker
