// AdaGrad (Duchi et al. 2011), as PyTorch writes it:
//   g += wd * w;  s += g^2;  w -= lr * g / (sqrt(s) + eps)
// where s begins at initial_accumulator. The slot holds s without that, so that it begins at zero.
#include "kernels/function_clones.h"
#include "kernels/optimizer/update_rule.h"

namespace downpour::kernels {
namespace {

DOWNPOUR_CLONES
void Loop(float lr, float eps, float initial, float wd, size_t n, float* __restrict w, float* __restrict s,
          const float* __restrict gradient) {
  for (size_t i = 0; i < n; ++i) {
    const float g = gradient[i] + wd * w[i];
    const float sum = s[i] + g * g;
    s[i] = sum;
    w[i] -= lr * g / (__builtin_sqrtf(initial + sum) + eps);
  }
}

void Update(const Hyper& h, std::span<float> w, Slots slots, std::span<const float> g) {
  Loop(h.learning_rate, h.epsilon, h.initial_accumulator, h.weight_decay, w.size(), w.data(), slots[0], g.data());
}

}  // namespace

const UpdateRule kAdagrad = {.name = "adagrad", .slots = 1, .lazy = true, .update = Update};

}  // namespace downpour::kernels
