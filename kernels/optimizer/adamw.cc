// Adam with decoupled weight decay (Loshchilov and Hutter 2019), as PyTorch writes it: w *= 1 - lr * wd, then
// Adam's update (adam.cc), whose gradient knows nothing of the decay.
#include <cmath>

#include "kernels/function_clones.h"
#include "kernels/optimizer/power.h"
#include "kernels/optimizer/update_rule.h"

namespace downpour::kernels {
namespace {

DOWNPOUR_CLONES
void Loop(float rate, float kept, float b1, float b2, float root, float eps, size_t n, float* __restrict w,
          float* __restrict m, float* __restrict v, const float* __restrict g) {
  for (size_t i = 0; i < n; ++i) {
    const float mean = b1 * m[i] + (1 - b1) * g[i];
    const float square = b2 * v[i] + (1 - b2) * g[i] * g[i];
    m[i] = mean;
    v[i] = square;
    w[i] = kept * w[i] - rate * mean / (__builtin_sqrtf(square) / root + eps);
  }
}

void Update(const Hyper& h, std::span<float> w, Slots slots, std::span<const float> g) {
  const double rate = h.learning_rate / (1 - Power(h.beta1, h.update));
  const double kept = 1 - static_cast<double>(h.learning_rate) * h.weight_decay;
  const double root = std::sqrt(1 - Power(h.beta2, h.update));
  Loop(static_cast<float>(rate), static_cast<float>(kept), h.beta1, h.beta2, static_cast<float>(root),
       h.epsilon, w.size(), w.data(), slots[0], slots[1], g.data());
}

}  // namespace

const UpdateRule kAdamw = {.name = "adamw", .slots = 2, .decoupled = true, .update = Update};

}  // namespace downpour::kernels
