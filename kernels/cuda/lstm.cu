#include "kernels/cuda/ops.h"
#include "kernels/cuda/recurrent.h"

namespace downpour::kernels::cuda {
namespace {

// Gates are i, f, g and o, before their functions and then after; c is kept, and its gradient carried.
struct LstmCell {
  static constexpr int kGates = 4;

  static __device__ float Forward(float (&gates)[kGates], const float (&from_hidden)[kGates], float, float c_before,
                                  float& c) {
    for (int g = 0; g < kGates; ++g) {
      const float sum = gates[g] + from_hidden[g];
      gates[g] = g == 2 ? tanhf(sum) : Sigmoid(sum);
    }
    c = gates[1] * c_before + gates[0] * gates[2];
    return gates[3] * tanhf(c);
  }

  static __device__ void Backward(const float (&gates)[kGates], float, float c_before, float c, float& gradient,
                                  float& carried, float (&gate_gradients)[kGates], float (&hidden_gradients)[kGates]) {
    const float i = gates[0], f = gates[1], g = gates[2], o = gates[3];
    const float shown = tanhf(c);
    const float dc = carried + gradient * o * (1 - shown * shown);
    gate_gradients[0] = dc * g * i * (1 - i);
    gate_gradients[1] = dc * c_before * f * (1 - f);
    gate_gradients[2] = dc * i * (1 - g * g);
    gate_gradients[3] = gradient * shown * o * (1 - o);
    for (int k = 0; k < kGates; ++k) hidden_gradients[k] = gate_gradients[k];
    carried = dc * f;
    gradient = 0;
  }
};

}  // namespace

std::unique_ptr<Recurrent> MakeLstm(const Context& context, const RecurrentSpec& spec, int max_batch) {
  return MakeRecurrent<LstmCell>(context, spec, max_batch);
}

}  // namespace downpour::kernels::cuda
