#include "proto/hyper.h"

#include "kernels/vector_ops.h"
#include "proto/sync/mode.h"

namespace downpour {

kernels::Hyper MakeHyper(const Optimizer& settings) {
  kernels::Hyper hyper;
  hyper.learning_rate = settings.learning_rate();
  hyper.weight_decay = settings.weight_decay();
  hyper.l1 = settings.l1();
  hyper.clip_value = settings.clip_value();
  hyper.momentum = settings.momentum();
  hyper.momentum_decay = settings.momentum_decay();
  hyper.beta1 = settings.beta1();
  hyper.beta2 = settings.beta2();
  hyper.alpha = settings.alpha();
  hyper.rho = settings.rho();
  hyper.epsilon = settings.epsilon();
  hyper.initial_accumulator = settings.initial_accumulator();
  hyper.beta = settings.beta();
  hyper.l2 = settings.l2();
  hyper.trust = settings.trust_coefficient();
  return hyper;
}

absl::StatusOr<const kernels::UpdateRule*> ServerRule(const Job& job) {
  const auto mode = FindSyncMode(job.sync().mode());
  if (!mode.ok()) return mode.status();
  const auto rule = kernels::FindUpdateRule(job.optimizer().name());
  if (!rule.ok()) return rule.status();
  return (*mode)->content == PushContent::kGradient ? *rule : nullptr;
}

void ApplyUpdate(const kernels::UpdateRule& rule, const kernels::Hyper& hyper, const GroupSettings& settings,
                 std::span<float> w, kernels::Slots slots, std::span<const float> g, std::span<float> scratch) {
  if (settings.average) return kernels::Axpy(-1, g, w);
  kernels::Hyper scaled = hyper;
  scaled.learning_rate *= settings.lr_mult;
  scaled.weight_decay *= settings.decay_mult;
  scaled.l1 *= settings.decay_mult;
  scaled.l2 *= settings.decay_mult;
  kernels::ApplyUpdate(rule, scaled, w, slots, g, scratch);
}

}  // namespace downpour
