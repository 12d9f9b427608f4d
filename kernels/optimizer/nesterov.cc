// Nesterov's momentum (Sutskever et al. 2013), as PyTorch writes it:
//   g += wd * w;  v = m * v + g;  w -= lr * (g + m * v)
#include "kernels/function_clones.h"
#include "kernels/optimizer/update_rule.h"

namespace downpour::kernels {
namespace {

DOWNPOUR_CLONES
void Loop(float lr, float m, float wd, size_t n, float* __restrict w, float* __restrict v,
          const float* __restrict gradient) {
  for (size_t i = 0; i < n; ++i) {
    const float g = gradient[i] + wd * w[i];
    const float velocity = m * v[i] + g;
    v[i] = velocity;
    w[i] -= lr * (g + m * velocity);
  }
}

void Update(const Hyper& h, std::span<float> w, Slots slots, std::span<const float> g) {
  Loop(h.learning_rate, h.momentum, h.weight_decay, w.size(), w.data(), slots[0], g.data());
}

}  // namespace

const UpdateRule kNesterov = {.name = "nesterov", .slots = 1, .update = Update};

}  // namespace downpour::kernels
