// Heavy ball (Polyak 1964), as PyTorch writes it: v = m * v + (g + wd * w); w -= lr * v. The rate stays
// outside the velocity, so a change of rate takes effect at once.
#include "kernels/function_clones.h"
#include "kernels/optimizer/update_rule.h"

namespace downpour::kernels {
namespace {

DOWNPOUR_CLONES
void Loop(float lr, float m, float wd, size_t n, float* __restrict w, float* __restrict v,
          const float* __restrict g) {
  for (size_t i = 0; i < n; ++i) {
    const float velocity = m * v[i] + (g[i] + wd * w[i]);
    v[i] = velocity;
    w[i] -= lr * velocity;
  }
}

void Update(const Hyper& h, std::span<float> w, Slots slots, std::span<const float> g) {
  Loop(h.learning_rate, h.momentum, h.weight_decay, w.size(), w.data(), slots[0], g.data());
}

}  // namespace

const UpdateRule kMomentum = {.name = "momentum", .slots = 1, .update = Update};

}  // namespace downpour::kernels
