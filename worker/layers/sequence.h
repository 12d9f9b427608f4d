// A sequence as a sample: its steps are the channels, what each step holds is the width, the height is 1.
#pragma once

#include <limits>

#include "absl/status/status.h"
#include "worker/layers/errors.h"
#include "worker/layers/layer.h"

namespace downpour::worker {

// kInvalidArgument where the input is no sequence, or a batch has more steps than can be counted.
inline absl::Status CheckSequence(const LayerContext& context) {
  const kernels::Shape& input = context.input();
  if (input.height != 1) {
    return LayerError(context, "needs a sequence, whose shape is steps x 1 x features, or just steps for one feature");
  }
  if (input.channels > std::numeric_limits<std::int32_t>::max() / context.max_batch) {
    return LayerError(context, "a batch of ", context.max_batch, " has more than 2^31 steps");
  }
  return absl::OkStatus();
}

// Samples as `rows` flat ones each, such as a sequence's steps.
template <typename T>
kernels::BasicTensorView<T> RowsOf(const kernels::BasicTensorView<T>& samples, int rows) {
  return {samples.data, samples.batch * rows, {static_cast<int>(samples.shape.size() / rows)}};
}

}  // namespace downpour::worker
