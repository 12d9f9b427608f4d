// NAdam (Dozat 2016), as PyTorch writes it, with t the part's own count of updates:
//   mu_t = b1 * (1 - 0.96^(t * momentum_decay) / 2);  p_t = mu_1 * ... * mu_t
//   g += wd * w;  m = b1 * m + (1 - b1) * g;  v = b2 * v + (1 - b2) * g^2
//   w -= lr * ((1 - mu_t) / (1 - p_t) * g + mu_(t+1) / (1 - p_(t+1)) * m) / (sqrt(v / (1 - b2^t)) + eps)
#include <cmath>

#include "kernels/function_clones.h"
#include "kernels/optimizer/power.h"
#include "kernels/optimizer/update_rule.h"

namespace downpour::kernels {
namespace {

constexpr double kLogOf096 = -0.040821994520255166;

// e^x for -100 < x <= 0, by multiplications alone, as Power.
double Exp(double x) {
  constexpr uint64_t kShares = 4096;
  x /= kShares;
  double sum = 1;
  for (int n = 10; n > 0; --n) sum = 1 + x / n * sum;
  return Power(sum, kShares);
}

struct Momentum {
  explicit Momentum(const Hyper& h) : b1(h.beta1), base(Exp(kLogOf096 * h.momentum_decay)) {}

  // mu_t
  double At(uint64_t t) const { return b1 * (1 - 0.5 * Power(base, t)); }

  // p_t. The factors are less than b1, so few of them make it vanish beside 1.
  double Product(uint64_t t) const {
    double product = 1;
    double power = 1;
    for (uint64_t n = 1; n <= t; ++n) {
      power *= base;
      product *= b1 * (1 - 0.5 * power);
      if (product < 1e-20) return 0;
    }
    return product;
  }

  double b1;
  double base;
};

DOWNPOUR_CLONES
void Loop(float of_gradient, float of_mean, float b1, float b2, float root, float eps, float wd, size_t n,
          float* __restrict w, float* __restrict m, float* __restrict v, const float* __restrict gradient) {
  for (size_t i = 0; i < n; ++i) {
    const float g = gradient[i] + wd * w[i];
    const float mean = b1 * m[i] + (1 - b1) * g;
    const float square = b2 * v[i] + (1 - b2) * g * g;
    m[i] = mean;
    v[i] = square;
    w[i] -= (of_gradient * g + of_mean * mean) / (__builtin_sqrtf(square) / root + eps);
  }
}

void Update(const Hyper& h, std::span<float> w, Slots slots, std::span<const float> g) {
  const Momentum momentum(h);
  const double now = momentum.At(h.update);
  const double next = momentum.At(h.update + 1);
  const double product = momentum.Product(h.update);
  const double of_gradient = h.learning_rate * (1 - now) / (1 - product);
  const double of_mean = h.learning_rate * next / (1 - product * next);
  const double root = std::sqrt(1 - Power(h.beta2, h.update));
  Loop(static_cast<float>(of_gradient), static_cast<float>(of_mean), h.beta1, h.beta2,
       static_cast<float>(root), h.epsilon, h.weight_decay, w.size(), w.data(), slots[0], slots[1], g.data());
}

}  // namespace

const UpdateRule kNadam = {.name = "nadam", .slots = 2, .update = Update};

}  // namespace downpour::kernels
