// AMSGrad (Reddi et al. 2018), as PyTorch's Adam has it, with t the part's own count of updates:
//   g += wd * w;  m = b1 * m + (1 - b1) * g;  v = b2 * v + (1 - b2) * g^2;  x = max(x, v)
//   w -= lr / (1 - b1^t) * m / (sqrt(x) / sqrt(1 - b2^t) + eps)
#include <cmath>

#include "kernels/function_clones.h"
#include "kernels/optimizer/power.h"
#include "kernels/optimizer/update_rule.h"

namespace downpour::kernels {
namespace {

DOWNPOUR_CLONES
void Loop(float rate, float b1, float b2, float root, float eps, float wd, size_t n, float* __restrict w,
          float* __restrict m, float* __restrict v, float* __restrict x, const float* __restrict gradient) {
  for (size_t i = 0; i < n; ++i) {
    const float g = gradient[i] + wd * w[i];
    const float mean = b1 * m[i] + (1 - b1) * g;
    const float square = b2 * v[i] + (1 - b2) * g * g;
    const float largest = x[i] > square ? x[i] : square;
    m[i] = mean;
    v[i] = square;
    x[i] = largest;
    w[i] -= rate * mean / (__builtin_sqrtf(largest) / root + eps);
  }
}

void Update(const Hyper& h, std::span<float> w, Slots slots, std::span<const float> g) {
  const double rate = h.learning_rate / (1 - Power(h.beta1, h.update));
  const double root = std::sqrt(1 - Power(h.beta2, h.update));
  Loop(static_cast<float>(rate), h.beta1, h.beta2, static_cast<float>(root), h.epsilon, h.weight_decay,
       w.size(), w.data(), slots[0], slots[1], slots[2], g.data());
}

}  // namespace

const UpdateRule kAmsgrad = {.name = "amsgrad", .slots = 3, .update = Update};

}  // namespace downpour::kernels
