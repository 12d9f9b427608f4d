// Plain gradient descent: w -= lr * (g + wd * w).
#include "kernels/function_clones.h"
#include "kernels/optimizer/update_rule.h"

namespace downpour::kernels {
namespace {

DOWNPOUR_CLONES
void Loop(float lr, float wd, size_t n, float* __restrict w, const float* __restrict g) {
  for (size_t i = 0; i < n; ++i) w[i] -= lr * (g[i] + wd * w[i]);
}

DOWNPOUR_CLONES
void LoopWithoutDecay(float lr, size_t n, float* __restrict w, const float* __restrict g) {
  for (size_t i = 0; i < n; ++i) w[i] -= lr * g[i];
}

void Update(const Hyper& h, std::span<float> w, Slots, std::span<const float> g) {
  if (h.weight_decay == 0) {
    LoopWithoutDecay(h.learning_rate, w.size(), w.data(), g.data());
  } else {
    Loop(h.learning_rate, h.weight_decay, w.size(), w.data(), g.data());
  }
}

}  // namespace

const UpdateRule kSgd = {.name = "sgd", .slots = 0, .lazy = true, .update = Update};

}  // namespace downpour::kernels
