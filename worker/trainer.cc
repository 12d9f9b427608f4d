#include "worker/trainer.h"

#include <chrono>
#include <cmath>
#include <memory>
#include <utility>

#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "kernels/vector_ops.h"
#include "proto/schedule.h"

namespace downpour::worker {
namespace {

std::span<float> SpanOf(kernels::AlignedBuffer& buffer) { return {buffer.data(), buffer.size()}; }

}  // namespace

Trainer::Trainer(const Job& job, const SyncMode& mode, uint64_t partition_samples, Net* net, Batcher* batcher,
                 PsClient* client)
    : job_(job),
      mode_(mode),
      partition_samples_(partition_samples),
      net_(*net),
      batcher_(*batcher),
      client_(*client),
      gradient_(net->parameter_count()),
      step_(client->progress().clock()) {
  report_.set_step(step_);
  report_.set_samples(client->progress().position());
  report_.set_partition_samples(partition_samples);
  if (partition_samples > 0) report_.set_epoch(static_cast<double>(report_.samples()) / partition_samples);
}

absl::Status Trainer::Run() {
  const uint64_t first_step = step_;
  const uint64_t last_step = job_.training().max_steps() > 0 ? job_.training().max_steps() : UINT64_MAX;
  std::shared_ptr<GradientBuffer> accrued;  // null where nothing has accrued
  Batch batch;
  while (step_ < last_step && batcher_.Next(&batch)) {
    const StepPlan plan = mode_.on_step(
        job_.sync(), {.step = step_, .first_step = first_step, .fetch_in_flight = client_.fetch_in_flight()});

    if (absl::Status status = Fetch(plan); !status.ok()) return status;

    const bool first_of_push = accrued == nullptr;
    if (first_of_push) {
      auto buffer = client_.AcquireBuffer();
      if (!buffer.ok()) return buffer.status();
      accrued = *std::move(buffer);
      accrued->versions = client_.versions();
      accrued->samples = 0;
    }
    const std::span<float> gradient = SpanOf(first_of_push ? accrued->gradient : gradient_);
    const float loss = net_.ForwardBackward(client_.parameters(), batch, gradient);
    if (!first_of_push) kernels::Axpy(1, gradient, SpanOf(accrued->gradient));
    accrued->samples += batch.size;
    accrued->clock = step_;
    accrued->position = batch.position_after;

    if (plan.local_step) kernels::Axpy(-LearningRate(job_, step_), gradient, client_.parameters());

    if (plan.push) {
      if (absl::Status status = CheckFinite(accrued.get()); !status.ok()) return status;
      client_.Push(std::exchange(accrued, nullptr));
      if (absl::Status status = client_.WaitForPushes(plan.pushes_in_flight); !status.ok()) return status;
      if (client_.TakeRefusedPushes() > 0) refetch_ = true;
    }
    ++step_;
    Count(batch, loss);
  }
  if (accrued != nullptr) {
    if (absl::Status status = CheckFinite(accrued.get()); !status.ok()) return status;
    client_.Push(std::exchange(accrued, nullptr));
  }
  return client_.WaitForPushes(0);
}

absl::Status Trainer::Fetch(const StepPlan& plan) {
  if (refetch_) {
    if (client_.fetch_in_flight()) {
      if (absl::Status status = client_.Install(); !status.ok()) return status;
    }
    client_.StartFetch(plan.fetch_clock);
    refetch_ = false;
    return client_.Install();
  }
  if (plan.fetch) client_.StartFetch(plan.fetch_clock);
  const bool wait = plan.wait_for_fetch && client_.fetch_in_flight();
  return wait || client_.FetchArrived() ? client_.Install() : client_.status();
}

absl::Status Trainer::CheckFinite(GradientBuffer* push) {
  const std::span<float> gradient = SpanOf(push->gradient);
  const auto bad = kernels::FirstNonFinite(gradient);
  if (!bad.has_value()) {
    bad_in_a_row_ = 0;
    return absl::OkStatus();
  }
  const std::string where = TensorAt(net_.parameters(), *bad);
  {
    std::lock_guard lock(mutex_);
    report_.set_bad_gradients(report_.bad_gradients() + 1);
  }
  if (++bad_in_a_row_ >= job_.worker().max_bad_gradients()) {
    return absl::InternalError(absl::StrCat(bad_in_a_row_, " gradients in a row were not finite, the last in ", where,
                                            " at step ", step_,
                                            "; a smaller optimizer.learning_rate or data.scale may help"));
  }
  spdlog::warn("step {}: the gradient is not finite in {}; it is not sent, and the parameters are fetched again", step_,
               where);
  // The clock has to move for the others, but nothing of this gradient may.
  kernels::Zero(gradient);
  push->samples = 0;
  refetch_ = true;
  return absl::OkStatus();
}

void Trainer::Count(const Batch& batch, float loss) {
  std::lock_guard lock(mutex_);
  report_.set_step(step_);
  report_.set_epoch(batch.epoch);
  report_.set_samples(batch.position_after);
  if (std::isfinite(loss)) {
    report_.set_loss(report_.loss() + loss);
    report_.set_loss_steps(report_.loss_steps() + 1);
  }
}

WorkerReport Trainer::TakeReport() {
  const double now = std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  std::lock_guard lock(mutex_);
  if (rate_seconds_ > 0 && now > rate_seconds_) {
    report_.set_samples_per_second(static_cast<double>(report_.samples() - rate_samples_) / (now - rate_seconds_));
  }
  rate_seconds_ = now;
  rate_samples_ = report_.samples();
  WorkerReport taken = report_;
  taken.set_staleness(client_.TakeMeanStaleness());
  if (taken.loss_steps() > 0) taken.set_loss(taken.loss() / taken.loss_steps());
  report_.set_loss(0);
  report_.set_loss_steps(0);
  return taken;
}

}  // namespace downpour::worker
