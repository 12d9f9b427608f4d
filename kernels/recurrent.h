// Recurrent nets that go through a sequence step by step: long short-term memory and the gated recurrent unit.
//
// x[t] is a step's input and h[t] its output, which is 0 before the first step; s(x) = 1 / (1 + exp(-x)), and * goes
// value by value. The rows of the weights W (of the input), U (of the output before) and the biases b and u are the
// gates, one after the other, in PyTorch's order.
//
// LSTM (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000), of the gates i, f, g, o:
//
//   i, f, o = s(W x[t] + b + U h[t-1] + u), each by its own rows;  g = tanh of the same
//   c[t]    = f * c[t-1] + i * g, which is 0 before the first step
//   h[t]    = o * tanh(c[t])
//
// GRU (Cho et al. 2014, in the form of cuDNN and PyTorch), of the gates r, z, n:
//
//   r, z = s(W x[t] + b + U h[t-1] + u), each by its own rows
//   n    = tanh(W x[t] + b + r * (U h[t-1] + u)), by its rows
//   h[t] = (1 - z) * n + z * h[t-1]
#pragma once

#include "kernels/tensor_view.h"

namespace downpour::kernels {

struct RecurrentSpec {
  int steps = 1;
  int inputs = 1;
  int outputs = 1;
  bool last = false;  // gives the last step's output alone

  Shape output() const { return last ? Shape{outputs} : Shape{steps, 1, outputs}; }
};

// In the device's memory. Matrices have a row for each output of each gate.
template <typename T>
struct BasicRecurrentWeights {
  T* input;        // W {gates * outputs, inputs}
  T* hidden;       // U {gates * outputs, outputs}
  T* input_bias;   // b {gates * outputs}
  T* hidden_bias;  // u {gates * outputs}
};
using RecurrentWeights = BasicRecurrentWeights<const float>;
using RecurrentGradients = BasicRecurrentWeights<float>;

// Input is {steps, 1, inputs} a sample. Views have one batch size, at most the plan's. No two may overlap.
class Recurrent {
 public:
  virtual ~Recurrent() = default;

  virtual void Forward(ConstTensorView input, const RecurrentWeights& weights, TensorView output) = 0;

  // For the last Forward's input and weights: overwrites the gradients of the weights, summed over the batch, and the
  // input's where that is not empty.
  virtual void Backward(ConstTensorView input, const RecurrentWeights& weights, ConstTensorView output_gradient,
                        const RecurrentGradients& gradients, TensorView input_gradient) = 0;
};

}  // namespace downpour::kernels
