#include "kernels/cuda/ops.h"
#include "kernels/cuda/recurrent.h"

namespace downpour::kernels::cuda {
namespace {

// Gates are r, z and n, before their functions and then after; U h + u of the gate n is kept.
struct GruCell {
  static constexpr int kGates = 3;

  static __device__ float Forward(float (&gates)[kGates], const float (&from_hidden)[kGates], float before, float,
                                  float& proposed) {
    const float r = Sigmoid(gates[0] + from_hidden[0]);
    const float z = Sigmoid(gates[1] + from_hidden[1]);
    proposed = from_hidden[2];
    const float n = tanhf(gates[2] + r * proposed);
    gates[0] = r;
    gates[1] = z;
    gates[2] = n;
    return (1 - z) * n + z * before;
  }

  static __device__ void Backward(const float (&gates)[kGates], float before, float, float proposed, float& gradient,
                                  float&, float (&gate_gradients)[kGates], float (&hidden_gradients)[kGates]) {
    const float r = gates[0], z = gates[1], n = gates[2];
    const float inner = gradient * (1 - z) * (1 - n * n);
    gate_gradients[0] = hidden_gradients[0] = inner * proposed * r * (1 - r);
    gate_gradients[1] = hidden_gradients[1] = gradient * (before - n) * z * (1 - z);
    gate_gradients[2] = inner;
    hidden_gradients[2] = inner * r;
    gradient *= z;
  }
};

}  // namespace

std::unique_ptr<Recurrent> MakeGru(const Context& context, const RecurrentSpec& spec, int max_batch) {
  return MakeRecurrent<GruCell>(context, spec, max_batch);
}

}  // namespace downpour::kernels::cuda
