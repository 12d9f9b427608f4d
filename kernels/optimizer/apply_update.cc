#include <limits>

#include "kernels/function_clones.h"
#include "kernels/optimizer/update_rule.h"

namespace downpour::kernels {
namespace {

// `out` may be `g`: an element is written after it is read.
DOWNPOUR_CLONES
void Combine(float decay, float l1, float limit, size_t n, const float* w, const float* g, float* out) {
#pragma GCC ivdep
  for (size_t i = 0; i < n; ++i) {
    const float sign = static_cast<float>(w[i] > 0) - static_cast<float>(w[i] < 0);
    const float sum = g[i] + decay * w[i] + l1 * sign;
    const float below = sum < limit ? sum : limit;
    out[i] = below > -limit ? below : -limit;
  }
}

}  // namespace

void ApplyUpdate(const UpdateRule& rule, const Hyper& h, std::span<float> w, Slots slots,
                 std::span<const float> g, std::span<float> scratch) {
  const float l1 = rule.own_l1 ? 0 : h.l1;
  if (l1 == 0 && h.clip_value == 0) {
    rule.update(h, w, slots, g);
    return;
  }
  // The bound is for the sum, so what the rule would add must be in it.
  const float decay = rule.decoupled ? 0 : h.weight_decay;
  const float limit = h.clip_value == 0 ? std::numeric_limits<float>::infinity() : h.clip_value;
  Combine(decay, l1, limit, w.size(), w.data(), g.data(), scratch.data());
  Hyper rest = h;
  if (!rule.decoupled) rest.weight_decay = 0;
  rule.update(rest, w, slots, scratch.first(w.size()));
}

}  // namespace downpour::kernels
