#include "worker/replica.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "kernels/vector_ops.h"
#include "proto/hyper.h"

namespace downpour::worker {

absl::StatusOr<uint32_t> ExchangedVectors(const Job& job) {
  if (job.sync().state() != "averaged") return 1;
  const auto rule = kernels::FindUpdateRule(job.optimizer().name());
  if (!rule.ok()) return rule.status();
  return 1 + (*rule)->slots;
}

absl::StatusOr<TableSpec> TableOf(const Job& job, const Net& net) {
  const auto vectors = ExchangedVectors(job);
  if (!vectors.ok()) return vectors.status();
  TableSpec table;
  table.set_elements(net.parameter_count() * *vectors);
  for (uint32_t vector = 0; vector < *vectors; ++vector) {
    for (const Parameter& parameter : net.parameters()) {
      TensorSpec* tensor = table.add_tensors();
      tensor->set_name(vector == 0 ? parameter.name : absl::StrCat(parameter.name, ".slot", vector - 1));
      tensor->mutable_shape()->Add(parameter.shape.begin(), parameter.shape.end());
      tensor->set_offset(vector * net.parameter_count() + parameter.offset);
      tensor->set_average(vector == 0 && parameter.average);
    }
  }
  return table;
}

absl::StatusOr<std::unique_ptr<Replica>> Replica::Create(const Job& job, const TableSpec& table) {
  const auto rule = kernels::FindUpdateRule(job.optimizer().name());
  if (!rule.ok()) return rule.status();
  const auto vectors = ExchangedVectors(job);
  if (!vectors.ok()) return vectors.status();
  return std::unique_ptr<Replica>(new Replica(job, **rule, *vectors, table));
}

Replica::Replica(const Job& job, const kernels::UpdateRule& rule, uint32_t exchanged_vectors, const TableSpec& table)
    : rule_(rule),
      parameters_(table.elements() / exchanged_vectors),
      exchanged_vectors_(exchanged_vectors),
      groups_(ParamGroups(job, table)),
      hyper_(MakeHyper(job.optimizer())),
      state_(parameters_ * (1 + rule.slots)),
      scratch_(parameters_) {
  Reset();
}

void Replica::Reset() {
  kernels::Zero({state_.data(), state_.size()});
  updates_ = 0;
}

void Replica::Step(float learning_rate, uint64_t step, std::span<const float> gradient) {
  ++updates_;
  hyper_.learning_rate = learning_rate;
  hyper_.update = exchanged_vectors_ > 1 ? step + 1 : updates_;
  std::array<float*, kernels::kMaxSlots> slots;
  for (const ParamGroup& group : groups_) {
    if (group.begin >= parameters_) return;  // slots, where they are exchanged too
    const size_t size = std::min<size_t>(group.end, parameters_) - group.begin;
    for (int i = 0; i < rule_.slots; ++i) slots[i] = state_.data() + (i + 1) * parameters_ + group.begin;
    ApplyUpdate(rule_, hyper_, group.settings, parameters().subspan(group.begin, size),
                kernels::Slots(slots).first(rule_.slots), gradient.subspan(group.begin, size), {scratch_.data(), size});
  }
}

}  // namespace downpour::worker
