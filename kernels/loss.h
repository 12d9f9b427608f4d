// A net's last layer: what it compares its values with, and what comes of it.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/tensor_view.h"

namespace downpour::kernels {

// Of one batch: for each sample a class or a number, as the loss takes it, and how much it counts. A view.
struct Targets {
  std::span<const std::int32_t> classes;  // from 0; none where the loss takes numbers
  std::span<const float> numbers;         // none where the loss takes classes
  std::span<const float> weights;         // none where all are 1; at least 0

  float weight(std::size_t sample) const { return weights.empty() ? 1.0f : weights[sample]; }

  Targets Sub(std::size_t first, std::size_t size) const {
    const auto sub = [&](auto span) { return span.empty() ? span : span.subspan(first, size); };
    return {sub(classes), sub(numbers), sub(weights)};
  }
};

// Sums over a batch, in which a sample of weight w counts as w samples would.
struct LossResult {
  double loss_sum = 0;  // infinite or NaN where the values are
  double correct = 0;   // samples whose class is among the top_k highest scores (the first of equals); 0 for numbers
  double weight = 0;    // of all samples
};

// Views have the plan's shape, and at most its batch; so many are the targets too.
class LossOp {
 public:
  virtual ~LossOp() = default;

  virtual void Forward(ConstTensorView values, const Targets& targets) = 0;

  // Of the last Forward, for which it waits.
  virtual LossResult Result() = 0;

  // value_gradient = scale * d loss / d values, for the last Forward's values and targets; a scale of 1 / batch gives
  // the gradient of the mean loss.
  virtual void Backward(float scale, const Targets& targets, TensorView value_gradient) = 0;
};

}  // namespace downpour::kernels
