// LARS (You et al. 2017, algorithm 1), for each tensor:
//   r = lr * trust * ||w|| / (||g|| + wd * ||w||);  v = m * v + r * (g + wd * w);  w -= v
// The rate stands inside the velocity, as in the paper. Where ||w|| or the denominator is zero, r = lr: a bias
// that begins at zero would never leave it otherwise.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "kernels/function_clones.h"
#include "kernels/optimizer/update_rule.h"

namespace downpour::kernels {
namespace {

constexpr size_t kLanes = 16;

// Into lanes, so that the order of the sum is the same on every CPU. Doubles, so that squares don't overflow.
DOWNPOUR_CLONES
void AddSquares(size_t n, const float* __restrict x, double* __restrict lanes) {
  for (size_t i = 0; i < n; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] += static_cast<double>(x[i + lane]) * x[i + lane];
    }
  }
}

double Norm(std::span<const float> x) {
  std::array<double, kLanes> lanes{};
  const size_t whole = x.size() / kLanes * kLanes;
  AddSquares(whole, x.data(), lanes.data());
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  for (const float value : x.subspan(whole)) sum += static_cast<double>(value) * value;
  return std::sqrt(sum);
}

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
  const double norm = Norm(w);
  const double denominator = Norm(g) + h.weight_decay * norm;
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
