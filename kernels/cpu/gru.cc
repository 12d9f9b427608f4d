#include <algorithm>

#include "kernels/cpu/device.h"
#include "kernels/cpu/exponential.h"
#include "kernels/cpu/recurrent.h"
#include "kernels/function_clones.h"

namespace downpour::kernels::cpu {
namespace {

// Of `size` outputs; gates has r, z and n, before their functions and then after.
DOWNPOUR_CLONES
void GruStep(float* gates, const float* from_hidden, const float* before, float* output, std::size_t size) {
  for (std::size_t k = 0; k < size; ++k) {
    const float r = Sigmoid(gates[k] + from_hidden[k]);
    const float z = Sigmoid(gates[size + k] + from_hidden[size + k]);
    const float n = Tanh(gates[2 * size + k] + r * from_hidden[2 * size + k]);
    gates[k] = r;
    gates[size + k] = z;
    gates[2 * size + k] = n;
    output[k] = (1.0f - z) * n + z * before[k];
  }
}

// proposed is U h + u of the gate n.
DOWNPOUR_CLONES
void GruStepBack(const float* gates, const float* proposed, const float* before, float* gradient, float* gate_gradients,
                 float* hidden_gradients, std::size_t size) {
  for (std::size_t k = 0; k < size; ++k) {
    const float r = gates[k], z = gates[size + k], n = gates[2 * size + k];
    const float dn = gradient[k] * (1.0f - z) * (1.0f - n * n);
    const float dr = dn * proposed[k] * r * (1.0f - r);
    const float dz = gradient[k] * (before[k] - n) * z * (1.0f - z);
    gate_gradients[k] = hidden_gradients[k] = dr;
    gate_gradients[size + k] = hidden_gradients[size + k] = dz;
    gate_gradients[2 * size + k] = dn;
    hidden_gradients[2 * size + k] = dn * r;
    gradient[k] *= z;
  }
}

class CpuGru final : public CpuRecurrent {
 public:
  CpuGru(const RecurrentSpec& spec, int max_batch, int threads)
      : CpuRecurrent(spec, 3, max_batch, threads), proposed_(PlaceOf(max_batch, 0) * outputs()) {}

 private:
  void Step(int sample, int step, float* gates, const float* from_hidden, const float* before, float* output) override {
    std::copy_n(from_hidden + 2 * outputs(), outputs(), Proposed(sample, step));
    GruStep(gates, from_hidden, before, output, outputs());
  }

  void StepBack(int sample, int step, const float* gates, const float* before, float* gradient, float* gate_gradients,
                float* hidden_gradients) override {
    GruStepBack(gates, Proposed(sample, step), before, gradient, gate_gradients, hidden_gradients, outputs());
  }

  float* Proposed(int sample, int step) const { return proposed_.data() + PlaceOf(sample, step) * outputs(); }

  AlignedBuffer proposed_;  // U h + u of the gate n, of all steps
};

}  // namespace

std::unique_ptr<Recurrent> MakeGru(const RecurrentSpec& spec, int max_batch, int threads) {
  return std::make_unique<CpuGru>(spec, max_batch, threads);
}

}  // namespace downpour::kernels::cpu
