// FTRL-Proximal (McMahan et al. 2013, algorithm 1), with the rate as its alpha:
//   g += wd * w;  n += g^2;  q' = (beta + sqrt(n)) / alpha;  z += g - (q' - q) * w;  q = q'
//   w = 0 where |z| <= l1, else -(z - sign(z) * l1) / (q + l2)
// q, which is 1 / eta in the paper, has a slot of its own and begins at zero. So the first sigma is the whole of
// 1 / eta_1, which ties a parameter to its initial value (in the paper that is zero), and alpha may follow a
// schedule: without l1 and l2 the update is w -= eta * g whatever the alphas before.
#include "kernels/function_clones.h"
#include "kernels/optimizer/update_rule.h"

namespace downpour::kernels {
namespace {

// 1 / alpha must be far from the end of a float's range.
constexpr float kLeastRate = 1e-20f;

DOWNPOUR_CLONES
void Loop(float alpha, float beta, float l1, float l2, float wd, size_t count, float* __restrict w,
          float* __restrict z, float* __restrict n, float* __restrict q, const float* __restrict gradient) {
  for (size_t i = 0; i < count; ++i) {
    const float g = gradient[i] + wd * w[i];
    const float squares = n[i] + g * g;
    const float inverse_rate = (beta + __builtin_sqrtf(squares)) / alpha;
    const float sum = z[i] + g - (inverse_rate - q[i]) * w[i];
    const float signed_l1 = sum > 0 ? l1 : -l1;
    const float value = -(sum - signed_l1) / (inverse_rate + l2);
    n[i] = squares;
    q[i] = inverse_rate;
    z[i] = sum;
    w[i] = __builtin_fabsf(sum) <= l1 ? 0 : value;
  }
}

void Update(const Hyper& h, std::span<float> w, Slots slots, std::span<const float> g) {
  if (h.learning_rate < kLeastRate) return;
  Loop(h.learning_rate, h.beta, h.l1, h.l2, h.weight_decay, w.size(), w.data(), slots[0], slots[1], slots[2],
       g.data());
}

}  // namespace

const UpdateRule kFtrl = {.name = "ftrl", .slots = 3, .own_l1 = true, .update = Update};

}  // namespace downpour::kernels
