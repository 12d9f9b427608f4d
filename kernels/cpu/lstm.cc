#include <algorithm>

#include "kernels/cpu/device.h"
#include "kernels/cpu/exponential.h"
#include "kernels/cpu/recurrent.h"
#include "kernels/function_clones.h"
#include "kernels/vector_ops.h"

namespace downpour::kernels::cpu {
namespace {

// Of `size` outputs; gates has i, f, g and o, before their functions and then after.
DOWNPOUR_CLONES
void LstmStep(float* gates, const float* from_hidden, const float* cell_before, float* cell, float* output,
              std::size_t size) {
  for (std::size_t k = 0; k < size; ++k) {
    const float i = Sigmoid(gates[k] + from_hidden[k]);
    const float f = Sigmoid(gates[size + k] + from_hidden[size + k]);
    const float g = Tanh(gates[2 * size + k] + from_hidden[2 * size + k]);
    const float o = Sigmoid(gates[3 * size + k] + from_hidden[3 * size + k]);
    const float c = f * cell_before[k] + i * g;
    gates[k] = i;
    gates[size + k] = f;
    gates[2 * size + k] = g;
    gates[3 * size + k] = o;
    cell[k] = c;
    output[k] = o * Tanh(c);
  }
}

// cell_gradient is what comes from the step after, and becomes what goes to the step before.
DOWNPOUR_CLONES
void LstmStepBack(const float* gates, const float* cell_before, const float* cell, const float* gradient,
                  float* cell_gradient, float* gate_gradients, std::size_t size) {
  for (std::size_t k = 0; k < size; ++k) {
    const float i = gates[k], f = gates[size + k], g = gates[2 * size + k], o = gates[3 * size + k];
    const float tanh_c = Tanh(cell[k]);
    const float dc = cell_gradient[k] + gradient[k] * o * (1.0f - tanh_c * tanh_c);
    gate_gradients[k] = dc * g * i * (1.0f - i);
    gate_gradients[size + k] = dc * cell_before[k] * f * (1.0f - f);
    gate_gradients[2 * size + k] = dc * i * (1.0f - g * g);
    gate_gradients[3 * size + k] = gradient[k] * tanh_c * o * (1.0f - o);
    cell_gradient[k] = dc * f;
  }
}

class CpuLstm final : public CpuRecurrent {
 public:
  CpuLstm(const RecurrentSpec& spec, int max_batch, int threads)
      : CpuRecurrent(spec, 4, max_batch, threads),
        cells_(PlaceOf(max_batch, 0) * outputs()),
        cell_gradients_(max_batch * outputs()),
        nothing_(outputs()) {}

 private:
  void Step(int sample, int step, float* gates, const float* from_hidden, const float*, float* output) override {
    LstmStep(gates, from_hidden, CellBefore(sample, step), Cell(sample, step), output, outputs());
  }

  void StepBack(int sample, int step, const float* gates, const float*, float* gradient, float* gate_gradients,
                float* hidden_gradients) override {
    const std::span<float> cell_gradient(cell_gradients_.data() + sample * outputs(), outputs());
    if (step + 1 == steps()) Zero(cell_gradient);
    LstmStepBack(gates, CellBefore(sample, step), Cell(sample, step), gradient, cell_gradient.data(), gate_gradients,
                 outputs());
    std::copy_n(gate_gradients, 4 * outputs(), hidden_gradients);
    Zero({gradient, outputs()});
  }

  float* Cell(int sample, int step) const { return cells_.data() + PlaceOf(sample, step) * outputs(); }
  const float* CellBefore(int sample, int step) const { return step == 0 ? nothing_.data() : Cell(sample, step - 1); }

  AlignedBuffer cells_;           // of all steps
  AlignedBuffer cell_gradients_;  // of one step
  const AlignedBuffer nothing_;   // before the first
};

}  // namespace

std::unique_ptr<Recurrent> MakeLstm(const RecurrentSpec& spec, int max_batch, int threads) {
  return std::make_unique<CpuLstm>(spec, max_batch, threads);
}

}  // namespace downpour::kernels::cpu
