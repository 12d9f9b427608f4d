// Local response normalisation (Krizhevsky et al. 2012): a value is the smaller the larger those around it are.
//
//   scale  = k + alpha / size * sum over the value's window of input^2
//   output = input / scale^beta
//
// A window across channels is the local_size channels around the value, at its place; its size is local_size. One
// within a channel is the square of local_size by local_size values around it; its size is local_size^2. What lies
// outside the input is zero, and counts in the size.
#pragma once

#include "kernels/tensor_view.h"

namespace downpour::kernels {

struct LrnSpec {
  enum class Region { kAcrossChannels, kWithinChannel };

  Shape shape;
  Region region = Region::kAcrossChannels;
  int local_size = 5;  // odd
  float alpha = 1e-4f;
  float beta = 0.75f;
  float k = 1;  // above 0

  int window() const { return region == Region::kAcrossChannels ? local_size : local_size * local_size; }
};

// Views must have the spec's shape and one batch size, at most the plan's.
class Lrn {
 public:
  virtual ~Lrn() = default;

  virtual void Forward(ConstTensorView input, TensorView output) = 0;

  // Belongs to the last Forward, whose input and output it must be given.
  //
  //   input_gradient = output_gradient / scale^beta
  //                    - 2 * alpha * beta / size * input * sum over the window of output_gradient * output / scale
  virtual void Backward(ConstTensorView input, ConstTensorView output, ConstTensorView output_gradient,
                        TensorView input_gradient) = 0;
};

}  // namespace downpour::kernels
