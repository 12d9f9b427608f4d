#include "kernels/cpu/recurrent.h"

#include <algorithm>

#include "kernels/cpu/matrix_product.h"
#include "kernels/cpu/parallel_for.h"
#include "kernels/vector_ops.h"

namespace downpour::kernels::cpu {
namespace {

// The sum of rows.
void SumRows(const float* rows, std::size_t count, std::span<float> sum) {
  Zero(sum);
  for (std::size_t r = 0; r < count; ++r) Axpy(1, {rows + r * sum.size(), sum.size()}, sum);
}

}  // namespace

CpuRecurrent::CpuRecurrent(const RecurrentSpec& spec, int gates, int max_batch, int threads)
    : spec_(spec),
      outputs_(spec.outputs),
      rows_(static_cast<std::size_t>(gates) * spec.outputs),
      threads_(threads),
      gates_(PlaceOf(max_batch, 0) * rows_),
      before_(PlaceOf(max_batch, 0) * outputs_),
      gate_gradients_(gates_.size()),
      hidden_gradients_(gates_.size()),
      from_hidden_(max_batch * rows_),
      output_gradient_(max_batch * outputs_) {}

void CpuRecurrent::Forward(ConstTensorView input, const RecurrentWeights& weights, TensorView output) {
  const int batch = input.batch, rows = static_cast<int>(rows_), outputs = spec_.outputs;
  const std::size_t places = PlaceOf(batch, 0);
  for (std::size_t i = 0; i < places; ++i) std::copy_n(weights.input_bias, rows_, gates_.data() + i * rows_);
  MatrixProduct(static_cast<int>(places), rows, spec_.inputs, {input.data, spec_.inputs},
                {weights.input, spec_.inputs, true}, 1, gates_.data(), rows, threads_);
  for (int t = 0; t < spec_.steps; ++t) {
    for (int n = 0; n < batch; ++n) std::copy_n(weights.hidden_bias, rows_, from_hidden_.data() + n * rows_);
    if (t > 0) {
      MatrixProduct(batch, rows, outputs, {before_.data() + t * outputs_, spec_.steps * outputs},
                    {weights.hidden, outputs, true}, 1, from_hidden_.data(), rows, threads_);
    }
    ParallelFor(batch, threads_, [&](int begin, int end, int) {
      for (int n = begin; n < end; ++n) {
        const std::size_t place = PlaceOf(n, t);
        const bool is_last = t + 1 == spec_.steps;
        float* const before = before_.data() + place * outputs_;
        float* const shown = spec_.last ? output.sample(n) : output.sample(n) + t * outputs_;
        float* const to = is_last ? shown : before + outputs_;
        Step(n, t, gates_.data() + place * rows_, from_hidden_.data() + n * rows_, before, to);
        if (!is_last && !spec_.last) std::copy_n(to, outputs_, shown);
      }
    });
  }
}

void CpuRecurrent::Backward(ConstTensorView input, const RecurrentWeights& weights, ConstTensorView output_gradient,
                            const RecurrentGradients& gradients, TensorView input_gradient) {
  const int batch = input.batch, rows = static_cast<int>(rows_), outputs = spec_.outputs, inputs = spec_.inputs;
  const int places = static_cast<int>(PlaceOf(batch, 0));
  Zero({output_gradient_.data(), batch * outputs_});
  for (int t = spec_.steps; t-- > 0;) {
    ParallelFor(batch, threads_, [&](int begin, int end, int) {
      for (int n = begin; n < end; ++n) {
        const std::size_t place = PlaceOf(n, t);
        float* const gradient = output_gradient_.data() + n * outputs_;
        if (!spec_.last || t + 1 == spec_.steps) {
          const float* const shown = output_gradient.sample(n) + (spec_.last ? 0 : t * outputs_);
          Axpy(1, {shown, outputs_}, {gradient, outputs_});
        }
        StepBack(n, t, gates_.data() + place * rows_, before_.data() + place * outputs_, gradient,
                 gate_gradients_.data() + place * rows_, hidden_gradients_.data() + place * rows_);
      }
    });
    if (t == 0) break;
    MatrixProduct(batch, outputs, rows, {hidden_gradients_.data() + t * rows_, spec_.steps * rows},
                  {weights.hidden, outputs}, 1, output_gradient_.data(), outputs, threads_);
  }
  MatrixProduct(rows, inputs, places, {gate_gradients_.data(), rows, true}, {input.data, inputs}, 0, gradients.input,
                inputs, threads_);
  MatrixProduct(rows, outputs, places, {hidden_gradients_.data(), rows, true}, {before_.data(), outputs}, 0,
                gradients.hidden, outputs, threads_);
  SumRows(gate_gradients_.data(), places, {gradients.input_bias, rows_});
  SumRows(hidden_gradients_.data(), places, {gradients.hidden_bias, rows_});
  if (input_gradient.empty()) return;
  MatrixProduct(places, inputs, rows, {gate_gradients_.data(), rows}, {weights.input, inputs}, 0, input_gradient.data,
                inputs, threads_);
}

}  // namespace downpour::kernels::cpu
