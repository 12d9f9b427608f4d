#include "tools/ps_run/evaluations.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "worker/model_file.h"

namespace downpour::run {

absl::StatusOr<std::unique_ptr<Evaluations>> Evaluations::Create(const Job& job) {
  auto evaluator = Evaluator::Create(job);
  if (!evaluator.ok()) return evaluator.status();
  return std::unique_ptr<Evaluations>(new Evaluations(*std::move(evaluator), job.run().evaluations()));
}

void Evaluations::StartIfDue(double fraction, const Evaluation& now) {
  if (wanted_ == 0 || !evaluator_->has_samples() || under_way()) return;
  // The last of them is the one at the end.
  const auto due = static_cast<uint32_t>(fraction * wanted_);
  if (due <= started_ || due >= wanted_) return;
  started_ = due;
  Start(now);
}

void Evaluations::StartLast(const Evaluation& now) {
  started_ = wanted_;
  Start(now);
}

void Evaluations::Start(const Evaluation& now) {
  under_way_ = now;
  evaluator_->Start();
}

std::optional<absl::StatusOr<Evaluation>> Evaluations::Take() {
  auto measured = evaluator_->Take();
  if (!measured) return std::nullopt;
  if (!measured->ok()) return measured->status();
  values_ = std::move((*measured)->values);
  return With(under_way_, (*measured)->held_out);
}

std::optional<Evaluation> Evaluations::OfWorkers(const std::vector<WorkerStatus>& workers, Evaluation now) {
  if (evaluator_->has_samples()) return std::nullopt;
  worker::Evaluation sum;
  now.epoch = std::numeric_limits<double>::infinity();
  for (const WorkerStatus& worker : workers) {
    if (!worker.report().has_held_out()) continue;
    const HeldOut& held_out = worker.report().held_out();
    sum.Add({held_out.loss_sum(), held_out.correct(), held_out.weight()});
    now.epoch = std::min(now.epoch, held_out.epoch());
  }
  if (!std::isfinite(now.epoch) || now.epoch <= epoch_of_workers_) return std::nullopt;
  epoch_of_workers_ = now.epoch;
  return With(now, sum);
}

absl::Status Evaluations::WriteModel(const std::string& path) const {
  return worker::WriteModel(path, evaluator_->parameters(), values_);
}

Evaluation Evaluations::With(Evaluation evaluation, const worker::Evaluation& measured) const {
  evaluation.weight = measured.weight;
  if (measured.weight == 0) return evaluation;
  evaluation.loss = measured.loss();
  if (evaluator_->has_classes()) evaluation.accuracy = measured.accuracy();
  evaluation.top_k = evaluator_->top_k();
  return evaluation;
}

}  // namespace downpour::run
