#include <cmath>

#include "kernels/reference/device.h"
#include "kernels/reference/recurrent.h"

namespace downpour::kernels::reference {
namespace {

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

class ReferenceGru final : public ReferenceRecurrent {
 public:
  ReferenceGru(const RecurrentSpec& spec, int max_batch)
      : ReferenceRecurrent(spec, 3, max_batch), states_(places(), std::vector<State>(spec.outputs)) {}

 private:
  // Of one output at one step.
  struct State {
    double r, z, n;
    double proposed;  // U h + u of the gate n
  };

  Values Step(std::size_t place, int, const Values& from_input, const Values& from_hidden,
              const Values& before) override {
    Values output(outputs());
    for (int k = 0; k < outputs(); ++k) {
      const auto at = [&](int gate) { return gate * outputs() + k; };
      State& state = states_[place][k];
      state.r = Sigmoid(from_input[at(0)] + from_hidden[at(0)]);
      state.z = Sigmoid(from_input[at(1)] + from_hidden[at(1)]);
      state.proposed = from_hidden[at(2)];
      state.n = std::tanh(from_input[at(2)] + state.r * state.proposed);
      output[k] = (1 - state.z) * state.n + state.z * before[k];
    }
    return output;
  }

  void StepBack(std::size_t place, int, const Values& before, Values& gradient, Values& gate_gradients,
                Values& hidden_gradients) override {
    for (int k = 0; k < outputs(); ++k) {
      const auto at = [&](int gate) { return gate * outputs() + k; };
      const auto [r, z, n, proposed] = states_[place][k];
      const double inner = gradient[k] * (1 - z) * (1 - n * n);
      gate_gradients[at(0)] = hidden_gradients[at(0)] = inner * proposed * r * (1 - r);
      gate_gradients[at(1)] = hidden_gradients[at(1)] = gradient[k] * (before[k] - n) * z * (1 - z);
      gate_gradients[at(2)] = inner;
      hidden_gradients[at(2)] = inner * r;
      gradient[k] *= z;
    }
  }

  std::vector<std::vector<State>> states_;  // at each place
};

}  // namespace

std::unique_ptr<Recurrent> MakeGru(const RecurrentSpec& spec, int max_batch) {
  return std::make_unique<ReferenceGru>(spec, max_batch);
}

}  // namespace downpour::kernels::reference
