// Two-dimensional convolution (cross-correlation, as the field has it) with bias, square window.
//
//   output[n][o][y][x] = bias[o] + sum over c, i, j of weights[o][c][i][j] *
//                        input[n][first(o) + c][y * stride + i * dilation - pad][x * stride + j * dilation - pad]
//
// where what lies outside the input is zero. Channels and outputs are each cut into `groups` of one size, and an output
// sees the channels of its own group (Krizhevsky et al. 2012): c is below channels / groups, and first(o) is that many
// times o / (outputs / groups), rounded down. A window reaches over an extent of (kernel - 1) * dilation + 1 (Yu and
// Koltun 2016), which must not exceed side + 2 * pad. Output side: (side + 2 * pad - extent) / stride + 1, rounded
// down.
#pragma once

#include "kernels/tensor_view.h"

namespace downpour::kernels {

struct Conv2dSpec {
  Shape input;
  int outputs = 0;
  int kernel = 0;
  int stride = 1;
  int pad = 0;
  int dilation = 1;
  int groups = 1;  // divides outputs and the input's channels

  int extent() const { return (kernel - 1) * dilation + 1; }
  Shape output() const {
    return {outputs, (input.height + 2 * pad - extent()) / stride + 1, (input.width + 2 * pad - extent()) / stride + 1};
  }
  std::size_t weight_count() const {
    return static_cast<std::size_t>(outputs) * (input.channels / groups) * kernel * kernel;
  }
};

// Weights are {outputs, channels / groups, kernel, kernel}, bias {outputs}. Views must have the spec's shapes and one
// batch size, at most the plan's. No two may overlap.
class Conv2d {
 public:
  virtual ~Conv2d() = default;

  virtual void Forward(ConstTensorView input, const float* weights, const float* bias, TensorView output) = 0;

  // input_gradient = d loss / d input.
  virtual void BackwardData(ConstTensorView output_gradient, const float* weights,
                            TensorView input_gradient) = 0;

  // Overwrites the gradients of weights and bias, summed over the batch.
  virtual void BackwardWeights(ConstTensorView input, ConstTensorView output_gradient, float* weight_gradient,
                               float* bias_gradient) = 0;
};

}  // namespace downpour::kernels
