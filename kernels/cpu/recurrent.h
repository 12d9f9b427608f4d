// What recurrent ops have in common: all but the gates.
#pragma once

#include <cstddef>

#include "kernels/aligned_buffer.h"
#include "kernels/recurrent.h"

namespace downpour::kernels::cpu {

// What comes of the input is one product over all steps, what comes of the outputs before one over the batch at each
// step; on the way back likewise.
class CpuRecurrent : public Recurrent {
 public:
  void Forward(ConstTensorView input, const RecurrentWeights& weights, TensorView output) final;
  void Backward(ConstTensorView input, const RecurrentWeights& weights, ConstTensorView output_gradient,
                const RecurrentGradients& gradients, TensorView input_gradient) final;

 protected:
  CpuRecurrent(const RecurrentSpec& spec, int gates, int max_batch, int threads);

  std::size_t outputs() const { return outputs_; }
  int steps() const { return spec_.steps; }
  // Of all steps of a batch.
  std::size_t PlaceOf(int sample, int step) const { return static_cast<std::size_t>(sample) * spec_.steps + step; }

 private:
  // One step of one sample; several threads, each with samples of its own. `gates` has W x + b and keeps what StepBack
  // wants; from_hidden is U h + u of the output before, which is `before`.
  virtual void Step(int sample, int step, float* gates, const float* from_hidden, const float* before,
                    float* output) = 0;
  // Steps come last first. gate_gradients is of W x + b, hidden_gradients of U h + u. `gradient` is the output's, and
  // becomes that of `before` as far as it does not go through U h.
  virtual void StepBack(int sample, int step, const float* gates, const float* before, float* gradient,
                        float* gate_gradients, float* hidden_gradients) = 0;

  const RecurrentSpec spec_;
  const std::size_t outputs_;
  const std::size_t rows_;  // gates * outputs
  const int threads_;
  // Of all steps, sample by sample.
  AlignedBuffer gates_;
  AlignedBuffer before_;  // the outputs before; 0 at the first step
  AlignedBuffer gate_gradients_;
  AlignedBuffer hidden_gradients_;
  // Of one step.
  AlignedBuffer from_hidden_;
  AlignedBuffer output_gradient_;
};

}  // namespace downpour::kernels::cpu
