// What recurrent ops have in common: all but the gates.
#pragma once

#include "kernels/cuda/fast_divisor.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/matrix_product.h"
#include "kernels/recurrent.h"

namespace downpour::kernels::cuda {

__device__ inline float Sigmoid(float x) { return 1 / (1 + expf(-x)); }

// What comes of the input is one product over all steps, what comes of the outputs before one over the batch at each
// step; on the way back likewise. The rest of a step is one kernel.
//
// A cell is the mathematics of one output at one step. It has, for the device:
//   kGates
//   Forward(gates, from_hidden, before, kept_before, &kept) -> output
//     gates are W x + b, and become what Backward wants; from_hidden is U h + u of the outputs before, and `before` the
//     output itself; kept is a number of the cell's own, and kept_before that of the step before, 0 at the first
//   Backward(gates, before, kept_before, kept, &gradient, &carried, gate_gradients, hidden_gradients)
//     the gradients of W x + b and of U h + u. `gradient` is the output's, and becomes that of `before` as far as it
//     does not go through U h; `carried` is a number of the cell's own from the step after, 0 at the last
template <typename Cell>
class CudaRecurrent final : public Recurrent {
 public:
  CudaRecurrent(const Context& context, const RecurrentSpec& spec, int max_batch)
      : context_(context),
        spec_(spec),
        rows_(Cell::kGates * spec.outputs),
        by_outputs_(spec.outputs),
        gates_(context.MakeBuffer(Places(max_batch) * rows_)),
        before_(context.MakeBuffer(Places(max_batch) * spec.outputs)),
        kept_(context.MakeBuffer(before_.size())),
        gate_gradients_(context.MakeBuffer(gates_.size())),
        hidden_gradients_(context.MakeBuffer(gates_.size())),
        from_hidden_(context.MakeBuffer(std::size_t{1} * max_batch * rows_)),
        output_gradient_(context.MakeBuffer(std::size_t{1} * max_batch * spec.outputs)),
        carried_(context.MakeBuffer(output_gradient_.size())) {}

  void Forward(ConstTensorView input, const RecurrentWeights& weights, TensorView output) override {
    const int places = static_cast<int>(Places(input.batch));
    MatrixProduct(context_, places, rows_, spec_.inputs, {input.data, spec_.inputs},
                  {weights.input, spec_.inputs, true}, /*keep=*/0, gates_.data(), rows_);
    for (int t = 0; t < spec_.steps; ++t) {
      if (t > 0) {
        MatrixProduct(context_, input.batch, rows_, spec_.outputs,
                      {before_.data() + std::size_t{1} * t * spec_.outputs, spec_.steps * spec_.outputs},
                      {weights.hidden, spec_.outputs, true}, /*keep=*/0, from_hidden_.data(), rows_);
      }
      Step(input.batch, t, weights, output);
    }
  }

  void Backward(ConstTensorView input, const RecurrentWeights& weights, ConstTensorView output_gradient,
                const RecurrentGradients& gradients, TensorView input_gradient) override {
    const int places = static_cast<int>(Places(input.batch));
    for (int t = spec_.steps; t-- > 0;) {
      StepBack(input.batch, t, output_gradient);
      if (t == 0) break;
      MatrixProduct(context_, input.batch, spec_.outputs, rows_,
                    {hidden_gradients_.data() + std::size_t{1} * t * rows_, spec_.steps * rows_},
                    {weights.hidden, spec_.outputs}, /*keep=*/1, output_gradient_.data(), spec_.outputs);
    }
    MatrixProduct(context_, rows_, spec_.inputs, places, {gate_gradients_.data(), rows_, true},
                  {input.data, spec_.inputs}, /*keep=*/0, gradients.input, spec_.inputs);
    MatrixProduct(context_, rows_, spec_.outputs, places, {hidden_gradients_.data(), rows_, true},
                  {before_.data(), spec_.outputs}, /*keep=*/0, gradients.hidden, spec_.outputs);
    SumGates(gate_gradients_, places, gradients.input_bias);
    SumGates(hidden_gradients_, places, gradients.hidden_bias);
    if (input_gradient.empty()) return;
    MatrixProduct(context_, places, spec_.inputs, rows_, {gate_gradients_.data(), rows_}, {weights.input, spec_.inputs},
                  /*keep=*/0, input_gradient.data, spec_.inputs);
  }

  // What follows is public, for nvcc takes no kernel from a private function.

  void Step(int batch, int t, const RecurrentWeights& weights, TensorView output) {
    const bool shown = !spec_.last || t + 1 == spec_.steps;
    ForEach(context_, std::size_t{1} * batch * spec_.outputs,
            [by_outputs = by_outputs_, steps = static_cast<Index>(spec_.steps), t = static_cast<Index>(t), weights,
             all_gates = gates_.data(), all_before = before_.data(), all_kept = kept_.data(),
             all_from_hidden = from_hidden_.data(), last = spec_.last,
             y = shown ? output.data : nullptr] __device__(Index i) {
              const Index outputs = by_outputs.divisor(), rows = Cell::kGates * outputs;
              const Index n = by_outputs.Divide(i), k = i - n * outputs;
              const Index place = n * steps + t;
              float gates[Cell::kGates], from_hidden[Cell::kGates];
              for (int g = 0; g < Cell::kGates; ++g) {
                const Index row = g * outputs + k;
                gates[g] = all_gates[place * rows + row] + weights.input_bias[row];
                from_hidden[g] = (t > 0 ? all_from_hidden[n * rows + row] : 0) + weights.hidden_bias[row];
              }
              const Index at = place * outputs + k;
              const float result =
                  Cell::Forward(gates, from_hidden, all_before[at], t > 0 ? all_kept[at - outputs] : 0, all_kept[at]);
              for (int g = 0; g < Cell::kGates; ++g) all_gates[place * rows + g * outputs + k] = gates[g];
              if (t + 1 < steps) all_before[at + outputs] = result;
              if (y != nullptr) y[last ? i : at] = result;
            });
  }

  void StepBack(int batch, int t, ConstTensorView output_gradient) {
    const bool shown = !spec_.last || t + 1 == spec_.steps;
    ForEach(context_, std::size_t{1} * batch * spec_.outputs,
            [by_outputs = by_outputs_, steps = static_cast<Index>(spec_.steps), t = static_cast<Index>(t),
             last = spec_.last, all_gates = gates_.data(), all_before = before_.data(), all_kept = kept_.data(),
             all_gate_gradients = gate_gradients_.data(), all_hidden_gradients = hidden_gradients_.data(),
             gradients = output_gradient_.data(), all_carried = carried_.data(),
             dy = shown ? output_gradient.data : nullptr] __device__(Index i) {
              const Index outputs = by_outputs.divisor(), rows = Cell::kGates * outputs;
              const Index n = by_outputs.Divide(i), k = i - n * outputs;
              const Index place = n * steps + t, at = place * outputs + k;
              const bool is_last = t + 1 == steps;
              float gates[Cell::kGates], gate_gradients[Cell::kGates], hidden_gradients[Cell::kGates];
              for (int g = 0; g < Cell::kGates; ++g) gates[g] = all_gates[place * rows + g * outputs + k];
              float gradient = is_last ? 0 : gradients[i], carried = is_last ? 0 : all_carried[i];
              if (dy != nullptr) gradient += dy[last ? i : at];
              Cell::Backward(gates, all_before[at], t > 0 ? all_kept[at - outputs] : 0, all_kept[at], gradient, carried,
                             gate_gradients, hidden_gradients);
              for (int g = 0; g < Cell::kGates; ++g) {
                all_gate_gradients[place * rows + g * outputs + k] = gate_gradients[g];
                all_hidden_gradients[place * rows + g * outputs + k] = hidden_gradients[g];
              }
              gradients[i] = gradient;
              all_carried[i] = carried;
            });
  }

  void SumGates(const Buffer& gates, int places, float* sums) const {
    SumPieces(context_, gates.data(), places, rows_, [sums] __device__(Index i, float sum) { sums[i] = sum; });
  }

 private:
  // Of all steps of a batch: sample by sample, and step by step in each.
  std::size_t Places(int batch) const { return std::size_t{1} * batch * spec_.steps; }

  const Context& context_;
  const RecurrentSpec spec_;
  const int rows_;  // gates * outputs
  const FastDivisor by_outputs_;
  // Of all places.
  const Buffer gates_;
  const Buffer before_;  // the outputs before; 0 at the first step
  const Buffer kept_;
  const Buffer gate_gradients_;
  const Buffer hidden_gradients_;
  // Of one step.
  const Buffer from_hidden_;
  const Buffer output_gradient_;
  const Buffer carried_;
};

// Throws std::bad_alloc where the GPU can't hold or count what an op of so many gates has.
template <typename Cell>
std::unique_ptr<Recurrent> MakeRecurrent(const Context& context, const RecurrentSpec& spec, int max_batch) {
  CheckSize({spec.steps, 1, spec.inputs}, max_batch);
  CheckSize({spec.steps, Cell::kGates, spec.outputs}, max_batch);
  return std::make_unique<CudaRecurrent<Cell>>(context, spec, max_batch);
}

}  // namespace downpour::kernels::cuda
