// What recurrent ops have in common: all but the gates.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "kernels/recurrent.h"

namespace downpour::kernels::reference {

class ReferenceRecurrent : public Recurrent {
 public:
  void Forward(ConstTensorView input, const RecurrentWeights& weights, TensorView output) final {
    for (int n = 0; n < input.batch; ++n)
      for (int t = 0; t < spec_.steps; ++t) {
        const std::size_t place = PlaceOf(n, t);
        const Values from_input =
            Product(weights.input, weights.input_bias, input.sample(n) + t * spec_.inputs, spec_.inputs);
        const Values& before = Before(place, t);
        const Values from_hidden = Product(weights.hidden, weights.hidden_bias, before.data(), spec_.outputs);
        outputs_[place] = Step(place, t, from_input, from_hidden, before);
        if (spec_.last && t + 1 < spec_.steps) continue;
        std::ranges::copy(outputs_[place], output.sample(n) + (spec_.last ? 0 : t * spec_.outputs));
      }
  }

  void Backward(ConstTensorView input, const RecurrentWeights& weights, ConstTensorView output_gradient,
                const RecurrentGradients& gradients, TensorView input_gradient) final {
    const std::size_t rows = static_cast<std::size_t>(gates_) * spec_.outputs;
    Values input_weights(rows * spec_.inputs), hidden_weights(rows * spec_.outputs), input_bias(rows),
        hidden_bias(rows);
    for (int n = 0; n < input.batch; ++n) {
      Values gradient(spec_.outputs);
      for (int t = spec_.steps; t-- > 0;) {
        const std::size_t place = PlaceOf(n, t);
        if (!spec_.last || t + 1 == spec_.steps) {
          const float* const shown = output_gradient.sample(n) + (spec_.last ? 0 : t * spec_.outputs);
          for (int o = 0; o < spec_.outputs; ++o) gradient[o] += shown[o];
        }
        const Values& before = Before(place, t);
        Values gate_gradients(rows), hidden_gradients(rows);
        StepBack(place, t, before, gradient, gate_gradients, hidden_gradients);
        const float* const x = input.sample(n) + t * spec_.inputs;
        Values x_gradient(spec_.inputs);
        for (std::size_t r = 0; r < rows; ++r) {
          input_bias[r] += gate_gradients[r];
          hidden_bias[r] += hidden_gradients[r];
          for (int i = 0; i < spec_.inputs; ++i) {
            input_weights[r * spec_.inputs + i] += gate_gradients[r] * x[i];
            x_gradient[i] += gate_gradients[r] * weights.input[r * spec_.inputs + i];
          }
          for (int o = 0; o < spec_.outputs; ++o) {
            hidden_weights[r * spec_.outputs + o] += hidden_gradients[r] * before[o];
            gradient[o] += hidden_gradients[r] * weights.hidden[r * spec_.outputs + o];
          }
        }
        if (!input_gradient.empty()) std::ranges::copy(x_gradient, input_gradient.sample(n) + t * spec_.inputs);
      }
    }
    std::ranges::copy(input_weights, gradients.input);
    std::ranges::copy(hidden_weights, gradients.hidden);
    std::ranges::copy(input_bias, gradients.input_bias);
    std::ranges::copy(hidden_bias, gradients.hidden_bias);
  }

 protected:
  using Values = std::vector<double>;

  ReferenceRecurrent(const RecurrentSpec& spec, int gates, int max_batch)
      : spec_(spec),
        gates_(gates),
        nothing_(spec.outputs),
        outputs_(static_cast<std::size_t>(max_batch) * spec.steps) {}

  int outputs() const { return spec_.outputs; }
  int steps() const { return spec_.steps; }
  // Of all steps of a batch.
  std::size_t places() const { return outputs_.size(); }

 private:
  // The output at a place, from W x + b, U h + u and the output before.
  virtual Values Step(std::size_t place, int step, const Values& from_input, const Values& from_hidden,
                      const Values& before) = 0;
  // The gradients of W x + b and of U h + u. `gradient` is the output's, and becomes that of `before` as far as it does
  // not go through U h.
  virtual void StepBack(std::size_t place, int step, const Values& before, Values& gradient, Values& gate_gradients,
                        Values& hidden_gradients) = 0;

  std::size_t PlaceOf(int n, int t) const { return static_cast<std::size_t>(n) * spec_.steps + t; }
  const Values& Before(std::size_t place, int step) const { return step == 0 ? nothing_ : outputs_[place - 1]; }

  template <typename T>
  Values Product(const float* weights, const float* bias, const T* x, int size) const {
    Values product(bias, bias + gates_ * spec_.outputs);
    for (std::size_t r = 0; r < product.size(); ++r)
      for (int i = 0; i < size; ++i) product[r] += static_cast<double>(weights[r * size + i]) * x[i];
    return product;
  }

  const RecurrentSpec spec_;
  const int gates_;
  const Values nothing_;         // the output before the first step
  std::vector<Values> outputs_;  // at each place
};

}  // namespace downpour::kernels::reference
