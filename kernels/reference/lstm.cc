#include <cmath>

#include "kernels/reference/device.h"
#include "kernels/reference/recurrent.h"

namespace downpour::kernels::reference {
namespace {

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

class ReferenceLstm final : public ReferenceRecurrent {
 public:
  ReferenceLstm(const RecurrentSpec& spec, int max_batch)
      : ReferenceRecurrent(spec, 4, max_batch),
        states_(places(), std::vector<State>(spec.outputs)),
        carried_(spec.outputs) {}

 private:
  // Of one output at one step.
  struct State {
    double i, f, g, o, c;
  };

  Values Step(std::size_t place, int step, const Values& from_input, const Values& from_hidden,
              const Values&) override {
    Values output(outputs());
    for (int k = 0; k < outputs(); ++k) {
      const auto gate = [&](int index) {
        return from_input[index * outputs() + k] + from_hidden[index * outputs() + k];
      };
      State& state = states_[place][k];
      state = {Sigmoid(gate(0)), Sigmoid(gate(1)), std::tanh(gate(2)), Sigmoid(gate(3)), 0};
      state.c = state.f * CellBefore(place, step, k) + state.i * state.g;
      output[k] = state.o * std::tanh(state.c);
    }
    return output;
  }

  void StepBack(std::size_t place, int step, const Values&, Values& gradient, Values& gate_gradients,
                Values& hidden_gradients) override {
    for (int k = 0; k < outputs(); ++k) {
      const auto [i, f, g, o, c] = states_[place][k];
      const double later = step + 1 == steps() ? 0 : carried_[k];
      const double cell = later + gradient[k] * o * (1 - std::tanh(c) * std::tanh(c));
      const double gates[] = {cell * g * i * (1 - i), cell * CellBefore(place, step, k) * f * (1 - f),
                              cell * i * (1 - g * g), gradient[k] * std::tanh(c) * o * (1 - o)};
      for (int index = 0; index < 4; ++index) gate_gradients[index * outputs() + k] = gates[index];
      carried_[k] = cell * f;
      gradient[k] = 0;
    }
    hidden_gradients = gate_gradients;
  }

  double CellBefore(std::size_t place, int step, int k) const { return step == 0 ? 0 : states_[place - 1][k].c; }

  std::vector<std::vector<State>> states_;  // at each place
  Values carried_;                          // of a step's gradient of c, to the step before
};

}  // namespace

std::unique_ptr<Recurrent> MakeLstm(const RecurrentSpec& spec, int max_batch) {
  return std::make_unique<ReferenceLstm>(spec, max_batch);
}

}  // namespace downpour::kernels::reference
