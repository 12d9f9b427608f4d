// LARS (You et al. 2017, algorithm 1), for each tensor:
//   r = lr * trust * ||w|| / (||g|| + wd * ||w||);  v = m * v + r * (g + wd * w);  w -= v
// The rate stands inside the velocity, as in the paper. Where ||w|| or the denominator is zero, r = lr: a bias
// that begins at zero would never leave it otherwise.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/function_clones.h"
#include "kernels/optimizer/update_rule.h"
#include "kernels/vector_ops.h"

namespace downpour::kernels {
namespace {

DOWNPOUR_CLONES
void Loop(float rate, float m, float wd, size_t n, float* __restrict w, float* __restrict v,
          const float* __restrict g) {
  for (size_t i = 0; i < n; ++i) {
    const float velocity = m * v[i] + rate * (g[i] + wd * w[i]);
    v[i] = velocity;
    w[i] -= velocity;
  }
}

void Update(const Hyper& h, std::span<float> w, Slots slots, std::span<const float> g) {
  const double norm = std::sqrt(SumOfSquares(w));
  const double denominator = std::sqrt(SumOfSquares(g)) + h.weight_decay * norm;
  double rate = h.learning_rate;
  if (norm > 0 && denominator > 0) rate *= h.trust * norm / denominator;
  // A gradient that almost vanishes must not make an infinity.
  rate = std::min<double>(rate, std::numeric_limits<float>::max());
  Loop(static_cast<float>(rate), h.momentum, h.weight_decay, w.size(), w.data(), slots[0], g.data());
}

}  // namespace

const UpdateRule kLars = {
    .name = "lars", .slots = 1, .decoupled = true, .per_tensor = true, .update = Update};

}  // namespace downpour::kernels
