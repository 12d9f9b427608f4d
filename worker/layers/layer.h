// What a net is made of.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "kernels/device.h"
#include "kernels/loss.h"
#include "kernels/tensor_view.h"
#include "proto/job.pb.h"

namespace downpour::worker {

// How the initial values of a tensor are drawn.
enum class Filler {
  kZero,
  kXavier,  // uniform within sqrt(3 / inputs)
  kMsra,    // gaussian of deviation sqrt(2 / inputs)
  kConstant,
  kGaussian,  // of mean 0
  kUniform,
  kBilinear,  // windows that a transposed convolution interpolates by (Long et al. 2015)
};

struct ParameterSpec {
  std::string_view name;  // "weight", "bias", "running_mean"
  std::vector<std::uint32_t> shape;
  Filler filler = Filler::kZero;
  int inputs = 1;   // that one output sums up
  float value = 0;  // of kConstant
  float deviation = 0;  // of kGaussian
  float lowest = 0;     // of kUniform, and the next
  float highest = 0;
  bool average = false;  // a running average: its gradient is what a step takes from it

  std::size_t size() const {
    std::size_t product = 1;
    for (const std::uint32_t side : shape) product *= side;
    return product;
  }
};

// A layer's parameters, or their gradients, in the order of its specs. The memory is the net's caller's.
using ConstTensors = std::span<const std::span<const float>>;
using Tensors = std::span<const std::span<float>>;

// A layer's inputs, or their gradients, in the order in which it names them.
using ConstTensorViews = std::span<const kernels::ConstTensorView>;
using TensorViews = std::span<const kernels::TensorView>;

// A function of a batch and of parameters that it does not keep, made for inputs of certain shapes. Owns scratch
// memory only. One thread at a time. Views have the layer's shapes and one batch size, at most that of its
// creation. What lies in them is the device's: a layer computes by the device's ops alone.
class Layer {
 public:
  virtual ~Layer() = default;

  virtual kernels::Shape output() const = 0;
  virtual std::vector<ParameterSpec> parameters() const { return {}; }
  // Of matrices and filters, by which one sample goes its way forward; what is a factor of each value is none.
  virtual std::uint64_t multiply_accumulates() const { return 0; }

  // Whether Backward may write the gradient of an input where that of the output lies: each value of it follows from that
  // value alone. With several inputs, all have the gradient of the output.
  virtual bool gradient_in_place() const { return false; }

  virtual void Forward(ConstTensorViews inputs, ConstTensors parameters, kernels::TensorView output) = 0;

  // The same while training, which to some layers is something else. What they leave to chance follows from what
  // `draw` points to, which the device's ops can read until Backward.
  virtual void ForwardInTraining(ConstTensorViews inputs, ConstTensors parameters, kernels::TensorView output,
                                 [[maybe_unused]] const std::uint64_t* draw) {
    Forward(inputs, parameters, output);
  }

  // Belongs to the last ForwardInTraining, whose inputs and output it is given. Overwrites the gradients of the
  // parameters and of the inputs; of the latter those are empty views that nobody needs. No two overlap, though inputs
  // may be the same, but where gradient_in_place() allows it.
  virtual void Backward(ConstTensorViews inputs, ConstTensors parameters, kernels::ConstTensorView output,
                        kernels::ConstTensorView output_gradient, Tensors parameter_gradients,
                        TensorViews input_gradients) = 0;
};

// One that takes one input.
class UnaryLayer : public Layer {
 public:
  void Forward(ConstTensorViews inputs, ConstTensors parameters, kernels::TensorView output) final {
    Forward(inputs[0], parameters, output);
  }
  void Backward(ConstTensorViews inputs, ConstTensors parameters, kernels::ConstTensorView output,
                kernels::ConstTensorView output_gradient, Tensors parameter_gradients,
                TensorViews input_gradients) final {
    Backward(inputs[0], parameters, output, output_gradient, parameter_gradients, input_gradients[0]);
  }

 private:
  virtual void Forward(kernels::ConstTensorView input, ConstTensors parameters, kernels::TensorView output) = 0;
  virtual void Backward(kernels::ConstTensorView input, ConstTensors parameters, kernels::ConstTensorView output,
                        kernels::ConstTensorView output_gradient, Tensors parameter_gradients,
                        kernels::TensorView input_gradient) = 0;
};

// One of the last layers of a net. The same rules; targets are classes in [0, classes()), or numbers.
class Loss {
 public:
  virtual ~Loss() = default;

  // 0 where targets are numbers.
  virtual int classes() const = 0;

  // A sample is correct where its class is among so many of the likeliest.
  virtual int top_k() const { return 1; }

  virtual void Forward(ConstTensorViews inputs, const kernels::Targets& targets) = 0;

  // Of the last Forward, for which it waits.
  virtual kernels::LossResult Result() = 0;

  // Overwrites each of the inputs' gradients with scale * d loss_sum / d input, for the last Forward; those are empty
  // views that nobody needs.
  virtual void Backward(float scale, const kernels::Targets& targets, TensorViews input_gradients) = 0;
};

using AnyLayer = std::variant<std::unique_ptr<Layer>, std::unique_ptr<Loss>>;

struct LayerInput {
  std::string name;  // "the input" or "layer conv1", for messages
  kernels::Shape shape;
};

// What a layer is made from.
struct LayerContext {
  const downpour::Layer& config;
  std::span<const LayerInput> inputs;  // as many as its type takes
  int max_batch;
  kernels::Device& device;

  const kernels::Shape& input() const { return inputs.front().shape; }
};

}  // namespace downpour::worker
