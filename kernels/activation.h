// Functions of each value by itself.
//
//   leaky ReLU   x where x > 0, else slope * x                   Maas et al. 2013
//   ELU          x where x > 0, else slope * (e^x - 1)           Clevert et al. 2016, whose alpha `slope` is
//   GELU         x * P(X <= x) for a standard normal X           Hendrycks and Gimpel 2016
//   sigmoid      1 / (1 + e^-x)
//   tanh
#pragma once

#include "kernels/tensor_view.h"

namespace downpour::kernels {

struct ActivationSpec {
  enum class Function { kLeakyRelu, kElu, kGelu, kSigmoid, kTanh };

  Function function = Function::kSigmoid;
  float slope = 0;  // of leaky ReLU and ELU
};

// Views must have the plan's shape and one batch size, at most the plan's. The gradient of the input may lie where
// that of the output lies.
class Activation {
 public:
  virtual ~Activation() = default;

  virtual void Forward(ConstTensorView input, TensorView output) = 0;

  virtual void Backward(ConstTensorView input, ConstTensorView output, ConstTensorView output_gradient,
                        TensorView input_gradient) = 0;
};

}  // namespace downpour::kernels
