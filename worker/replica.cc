#include "worker/replica.h"

#include <array>

#include "kernels/vector_ops.h"
#include "proto/hyper.h"

namespace downpour::worker {

absl::StatusOr<uint32_t> ExchangedVectors(const Job& job) {
  if (job.sync().state() != "averaged") return 1;
  const auto rule = kernels::FindUpdateRule(job.optimizer().name());
  if (!rule.ok()) return rule.status();
  return 1 + (*rule)->slots;
}

absl::StatusOr<std::unique_ptr<Replica>> Replica::Create(const Job& job, size_t parameters) {
  const auto rule = kernels::FindUpdateRule(job.optimizer().name());
  if (!rule.ok()) return rule.status();
  const auto vectors = ExchangedVectors(job);
  if (!vectors.ok()) return vectors.status();
  return std::unique_ptr<Replica>(new Replica(job, **rule, *vectors, parameters));
}

Replica::Replica(const Job& job, const kernels::UpdateRule& rule, uint32_t exchanged_vectors, size_t parameters)
    : rule_(rule),
      parameters_(parameters),
      exchanged_vectors_(exchanged_vectors),
      hyper_(MakeHyper(job.optimizer())),
      state_(parameters * (1 + rule.slots)) {
  Reset();
}

void Replica::Reset() { kernels::Zero({state_.data(), state_.size()}); }

void Replica::Step(float learning_rate, uint64_t update, std::span<const float> gradient) {
  hyper_.learning_rate = learning_rate;
  hyper_.update = update;
  std::array<float*, kernels::kMaxSlots> slots;
  for (int i = 0; i < rule_.slots; ++i) slots[i] = state_.data() + (i + 1) * parameters_;
  rule_.update(hyper_, parameters(), kernels::Slots(slots).first(rule_.slots), gradient);
}

}  // namespace downpour::worker
