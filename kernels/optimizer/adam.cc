// Adam (Kingma and Ba 2015), as PyTorch writes it, with t the part's own count of updates:
//   g += wd * w;  m = b1 * m + (1 - b1) * g;  v = b2 * v + (1 - b2) * g^2
//   w -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
#include <cmath>

#include "kernels/function_clones.h"
#include "kernels/optimizer/power.h"
#include "kernels/optimizer/update_rule.h"

namespace downpour::kernels {
namespace {

DOWNPOUR_CLONES
void Loop(float rate, float b1, float b2, float root, float eps, float wd, size_t n, float* __restrict w,
          float* __restrict m, float* __restrict v, const float* __restrict gradient) {
  for (size_t i = 0; i < n; ++i) {
    const float g = gradient[i] + wd * w[i];
    const float mean = b1 * m[i] + (1 - b1) * g;
    const float square = b2 * v[i] + (1 - b2) * g * g;
    m[i] = mean;
    v[i] = square;
    w[i] -= rate * mean / (__builtin_sqrtf(square) / root + eps);
  }
}

void Update(const Hyper& h, std::span<float> w, Slots slots, std::span<const float> g) {
  const double rate = h.learning_rate / (1 - Power(h.beta1, h.update));
  const double root = std::sqrt(1 - Power(h.beta2, h.update));
  Loop(static_cast<float>(rate), h.beta1, h.beta2, static_cast<float>(root), h.epsilon, h.weight_decay,
       w.size(), w.data(), slots[0], slots[1], g.data());
}

}  // namespace

const UpdateRule kAdam = {.name = "adam", .slots = 2, .update = Update};

}  // namespace downpour::kernels
