// AdaMax (Kingma and Ba 2015, section 7.1), as PyTorch writes it, with t the part's own count of updates:
//   g += wd * w;  m = b1 * m + (1 - b1) * g;  u = max(b2 * u, |g| + eps)
//   w -= lr / (1 - b1^t) * m / u
#include "kernels/function_clones.h"
#include "kernels/optimizer/power.h"
#include "kernels/optimizer/update_rule.h"

namespace downpour::kernels {
namespace {

DOWNPOUR_CLONES
void Loop(float rate, float b1, float b2, float eps, float wd, size_t n, float* __restrict w, float* __restrict m,
          float* __restrict u, const float* __restrict gradient) {
  for (size_t i = 0; i < n; ++i) {
    const float g = gradient[i] + wd * w[i];
    const float mean = b1 * m[i] + (1 - b1) * g;
    const float size = __builtin_fabsf(g) + eps;
    const float decayed = b2 * u[i];
    const float norm = decayed > size ? decayed : size;
    m[i] = mean;
    u[i] = norm;
    w[i] -= rate * mean / norm;
  }
}

void Update(const Hyper& h, std::span<float> w, Slots slots, std::span<const float> g) {
  const double rate = h.learning_rate / (1 - Power(h.beta1, h.update));
  Loop(static_cast<float>(rate), h.beta1, h.beta2, h.epsilon, h.weight_decay, w.size(), w.data(), slots[0],
       slots[1], g.data());
}

}  // namespace

const UpdateRule kAdamax = {.name = "adamax", .slots = 2, .update = Update};

}  // namespace downpour::kernels
