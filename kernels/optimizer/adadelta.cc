// Adadelta (Zeiler 2012), as PyTorch writes it:
//   g += wd * w;  v = rho * v + (1 - rho) * g^2
//   d = sqrt(u + eps) / sqrt(v + eps) * g;  u = rho * u + (1 - rho) * d^2;  w -= lr * d
#include "kernels/function_clones.h"
#include "kernels/optimizer/update_rule.h"

namespace downpour::kernels {
namespace {

DOWNPOUR_CLONES
void Loop(float lr, float rho, float eps, float wd, size_t n, float* __restrict w, float* __restrict v,
          float* __restrict u, const float* __restrict gradient) {
  for (size_t i = 0; i < n; ++i) {
    const float g = gradient[i] + wd * w[i];
    const float square = rho * v[i] + (1 - rho) * g * g;
    const float delta = __builtin_sqrtf(u[i] + eps) / __builtin_sqrtf(square + eps) * g;
    v[i] = square;
    u[i] = rho * u[i] + (1 - rho) * delta * delta;
    w[i] -= lr * delta;
  }
}

void Update(const Hyper& h, std::span<float> w, Slots slots, std::span<const float> g) {
  Loop(h.learning_rate, h.rho, h.epsilon, h.weight_decay, w.size(), w.data(), slots[0], slots[1], g.data());
}

}  // namespace

const UpdateRule kAdadelta = {.name = "adadelta", .slots = 2, .update = Update};

}  // namespace downpour::kernels
