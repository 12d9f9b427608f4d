// RMSprop (Tieleman and Hinton 2012), as PyTorch writes it:
//   g += wd * w;  v = alpha * v + (1 - alpha) * g^2;  w -= lr * g / (sqrt(v) + eps)
#include "kernels/function_clones.h"
#include "kernels/optimizer/update_rule.h"

namespace downpour::kernels {
namespace {

DOWNPOUR_CLONES
void Loop(float lr, float alpha, float eps, float wd, size_t n, float* __restrict w, float* __restrict v,
          const float* __restrict gradient) {
  for (size_t i = 0; i < n; ++i) {
    const float g = gradient[i] + wd * w[i];
    const float square = alpha * v[i] + (1 - alpha) * g * g;
    v[i] = square;
    w[i] -= lr * g / (__builtin_sqrtf(square) + eps);
  }
}

void Update(const Hyper& h, std::span<float> w, Slots slots, std::span<const float> g) {
  Loop(h.learning_rate, h.alpha, h.epsilon, h.weight_decay, w.size(), w.data(), slots[0], g.data());
}

}  // namespace

const UpdateRule kRmsprop = {.name = "rmsprop", .slots = 1, .update = Update};

}  // namespace downpour::kernels
