#include "worker/trainer.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/vector_ops.h"
#include "proto/codec/wire_codecs.h"
#include "proto/schedule.h"
#include "worker/measure.h"

namespace downpour::worker {
namespace {

std::vector<ParamGroup> GroupsThatDiffer(const Job& job, const TableSpec& table) {
  std::vector<ParamGroup> groups = ParamGroups(job, table);
  const bool differ = std::any_of(groups.begin(), groups.end(), [](const auto& group) {
    return group.settings.lr_mult != 1 || group.settings.average;
  });
  return differ ? groups : std::vector<ParamGroup>();
}

// What may help where gradients are not finite.
std::string AdviceForBad(const Job& job) {
  const bool takes_ids = std::ranges::any_of(job.net(), [](const auto& layer) { return layer.type() == "embedding"; });
  if (takes_ids && job.data().scale() != 1) {
    return absl::StrCat("; an embedding takes whole numbers, and data.scale is ", job.data().scale(), ": set it to 1");
  }
  return "; a smaller optimizer.learning_rate or data.scale may help";
}

double Now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::span<float> SpanOf(kernels::AlignedBuffer& buffer) { return {buffer.data(), buffer.size()}; }
std::span<float> SpanOf(ExchangedVector& vector) { return {vector.data(), vector.size()}; }

}  // namespace

absl::StatusOr<std::unique_ptr<Trainer>> Trainer::Create(const Job& job, const TrainingData& data, Net* net,
                                                         PsClient* client, double slow_down) {
  const Settings settings = *client->NewSettings(client->progress().clock(), std::nullopt);
  const auto table = TableOf(job, *net);
  if (!table.ok()) return table.status();
  std::unique_ptr<Replica> replica;
  if (settings.mode->content != PushContent::kGradient) {
    auto made = Replica::Create(job, *table);
    if (!made.ok()) return made.status();
    replica = *std::move(made);
  }
  return std::unique_ptr<Trainer>(new Trainer(job, *table, settings, data, net, client, std::move(replica), slow_down));
}

Trainer::Trainer(const Job& job, const TableSpec& table, const Settings& settings, const TrainingData& data, Net* net,
                 PsClient* client, std::unique_ptr<Replica> replica, double slow_down)
    : job_(job),
      data_(data),
      net_(*net),
      client_(*client),
      groups_(GroupsThatDiffer(job, table)),
      replica_(std::move(replica)),
      settings_(settings),
      sync_(settings.sync),
      levels_(WireCodecsOf(job)->levels),
      congestion_(levels_.size()),
      slow_down_(slow_down),
      gradient_(net->parameter_count()),
      step_(client->progress().clock() * settings.mode->steps_a_clock(settings.sync)),
      first_step_(step_),
      history_(data.samples, job.training().epochs()) {
  report_.set_step(step_);
  report_.set_samples(client->progress().position());
  report_.set_partition_samples(data.samples);
  if (data.samples > 0) report_.set_epoch(static_cast<double>(report_.samples()) / data.samples);
  if (data.samples > 0 && data.held_out != nullptr && data.held_out->size() > 0) report_.mutable_held_out();
}

absl::Status Trainer::Run() {
  {
    std::lock_guard lock(mutex_);
    began_seconds_ = Now();
  }
  const uint64_t last_step = job_.training().max_steps() > 0 ? job_.training().max_steps() : UINT64_MAX;
  Batch batch;
  while (step_ < last_step && data_.batcher->Next(&batch)) {
    const absl::StatusOr<StepPlan> plan = Prepare();
    if (!plan.ok()) return plan.status();

    const bool first_of_push = accrued_ == nullptr;
    if (first_of_push) {
      auto buffer = client_.AcquireBuffer();
      if (!buffer.ok()) return buffer.status();
      accrued_ = *std::move(buffer);
      accrued_->versions = client_.versions();
      accrued_->samples = 0;
      steps_on_same_averages_ = 0;
    }
    const bool in_place = first_of_push && replica_ == nullptr;
    const std::span<float> gradient = in_place ? SpanOf(accrued_->gradient) : SpanOf(gradient_);
    slow_down_.Before();
    const Evaluation result = net_.ForwardBackward(parameters(), batch, gradient);
    slow_down_.After();
    Clip(gradient);
    if (!first_of_push && replica_ == nullptr) kernels::Axpy(1, gradient, SpanOf(accrued_->gradient));
    accrued_->samples += batch.size;
    accrued_->position = batch.position_after;

    steps_on_same_averages_ = plan->plain_step ? 0 : steps_on_same_averages_ + 1;
    if (plan->plain_step) PlainStep(gradient);
    if (plan->optimizer_step) replica_->Step(Rate(), step_, gradient);

    if (plan->push) {
      const bool last = step_ + 1 >= last_step || batch.position_after >= data_.samples * job_.training().epochs();
      if (absl::Status status = last ? Exchange(step_) : ExchangeForNext(); !status.ok()) return status;
      if (absl::Status status = client_.WaitForPushes(plan->pushes_in_flight); !status.ok()) return status;
      if (client_.TakeRefusedParts() > 0) refetch_ = true;
      WatchWire();
    }
    ++step_;
    Count(batch, result);
    if (batch.position_after % data_.samples == 0) {
      if (absl::Status status = MeasureHeldOut(batch.position_after, batch.epoch); !status.ok()) return status;
    }
  }
  if (absl::Status status = data_.batcher->status(); !status.ok()) return status;
  if (accrued_ != nullptr) {
    if (absl::Status status = Exchange(step_ - 1); !status.ok()) return status;
  }
  if (absl::Status status = client_.WaitForPushes(0); !status.ok()) return status;
  if (client_.progress().position() == 0 && good_pushes_ == 0 && !last_bad_.empty()) {
    return absl::InternalError(absl::StrCat("nothing was learnt: in none of ", step_, " steps was ",
                                            replica_ ? "what was pushed" : "the gradient", " finite, the last in ",
                                            last_bad_, AdviceForBad(job_)));
  }
  return absl::OkStatus();
}

StepPlan Trainer::PlanOf(uint64_t step, bool fetched) const {
  return settings_.mode->on_step(sync_, {.step = step,
                                         .first_step = first_step_,
                                         .fetch_in_flight = client_.fetch_in_flight(),
                                         .fetched = fetched,
                                         .seen_clock = client_.seen_clock()});
}

void Trainer::SetSync() {
  sync_ = settings_.sync;
  const bool counts = WireCounts();
  client_.SetWireLevel(levels_[counts ? congestion_.level() : 0]);
  if (!counts) return;
  const uint32_t times = levels_[congestion_.level()].intervals;
  const auto longer = [&](uint32_t n) { return std::max(n, std::min(n * times, job_.wire().adapt_max_n())); };
  if (sync_.has_n_push()) sync_.set_n_push(longer(sync_.n_push()));
  if (sync_.has_n_fetch()) sync_.set_n_fetch(longer(sync_.n_fetch()));
}

bool Trainer::WireCounts() const {
  return levels_.size() > 1 && settings_.mode->coupling(settings_.sync) == Coupling::kNone && !settings_.sync.wait();
}

void Trainer::WatchWire() {
  const double now = Now();
  if (!LongEnough(++window_pushes_, now - window_begun_)) return;
  WireWindow window = client_.TakeWireWindow();
  const bool first = window_begun_ == 0;
  window.steps = step_ + 1 - window_step_;
  // In the modes without n_fetch a fetch follows the one before, and the step waits for it or it doesn't matter.
  if (sync_.has_n_fetch()) window.fetch_every = sync_.n_fetch();
  window_begun_ = now;
  window_step_ = step_ + 1;
  window_pushes_ = 0;
  {
    std::lock_guard lock(mutex_);
    report_.set_push_round_trip_seconds(window.push_round_trip);
    report_.set_fetch_round_trip_seconds(window.fetch_round_trip);
    report_.set_goodput_bytes_per_second(window.goodput());
    report_.set_waited_share(window.waited_share());
  }
  // What comes first, parameters as a whole, says nothing of what follows.
  if (first || !WireCounts() || !congestion_.OnWindow(window)) return;
  const WireLevel& level = levels_[congestion_.level()];
  SetSync();
  {
    std::lock_guard lock(mutex_);
    report_.set_wire_level(static_cast<uint32_t>(congestion_.level()));
    report_.set_wire_changes(congestion_.changes());
  }
  spdlog::info(
      "step {}: wire level {} of {}: {}{}; waited {:.0f} % of {:.1f} s, a push took {:.0f} ms, a fetch {:.0f} ms, "
      "{:.1f} MB/s",
      step_, congestion_.level(), levels_.size() - 1,
      absl::StrCat(level.push->name, level.push->id == CodecId::kTopK ? absl::StrCat(" ", level.settings.share) : ""),
      sync_.has_n_push() ? absl::StrCat(", n_push ", sync_.n_push(), ", n_fetch ", sync_.n_fetch()) : "",
      100 * window.waited_share(), window.seconds, 1e3 * window.push_round_trip, 1e3 * window.fetch_round_trip,
      window.goodput() / 1e6);
}

absl::StatusOr<StepPlan> Trainer::Prepare() {
  const uint64_t clock = step_ / settings_.mode->steps_a_clock(settings_.sync);
  if (std::optional<Settings> next = client_.NewSettings(clock, settings_.version)) {
    // What accrued before belongs to the settings before, and nothing of them may still be on its way when pushes of
    // the next begin.
    if (accrued_ != nullptr) {
      if (absl::Status status = Exchange(step_ - 1); !status.ok()) return status;
    }
    if (absl::Status status = client_.WaitForPushes(0); !status.ok()) return status;
    settings_ = *std::move(next);
    SetSync();
    refetch_ = true;  // what is under way was asked for under the settings before
    spdlog::info("step {}: settings version {}, sync mode {}", step_, settings_.version,
                 std::string(settings_.mode->name));
  }
  fetched_ = false;
  while (true) {
    const StepPlan plan = Plan();
    if (absl::Status status = Fetch(plan); !status.ok()) return status;
    if (plan.follow_clock && fetched_ && client_.seen_clock() > step_) {
      if (step_ == first_step_) first_step_ = client_.seen_clock();
      step_ = client_.seen_clock();
    }
    if (!plan.wait_for_fetch) return plan;
  }
}

absl::Status Trainer::Fetch(const StepPlan& plan) {
  const PsClient::FetchOptions options = FetchOf(plan);
  if (refetch_) {
    if (client_.fetch_in_flight()) {
      if (absl::Status status = client_.Install(); !status.ok()) return status;
    }
    client_.StartFetch(options);
    refetch_ = false;
    return Install();
  }
  if (plan.fetch) client_.StartFetch(options);
  const bool wait = plan.wait_for_fetch && client_.fetch_in_flight();
  return wait || client_.FetchArrived() ? Install() : client_.status();
}

absl::Status Trainer::Install() {
  if (absl::Status status = client_.Install(); !status.ok()) return status;
  fetched_ = true;
  if (replica_ != nullptr) {
    const std::span<float> to = replica_->exchanged();
    std::copy_n(client_.parameters().begin(), to.size(), to.begin());
  }
  return absl::OkStatus();
}

absl::Status Trainer::ExchangeForNext() {
  // Where that has to see this push anyway.
  const StepPlan next = PlanOf(step_ + 1, false);
  const bool fetch = next.fetch && next.wait_for_fetch && next.after_own_push && !refetch_;
  return Exchange(step_, fetch ? std::optional(FetchOf(next)) : std::nullopt);
}

absl::Status Trainer::Exchange(uint64_t last_step, const std::optional<PsClient::FetchOptions>& then_fetch) {
  const std::shared_ptr<GradientBuffer> push = std::exchange(accrued_, nullptr);
  absl::Status status;
  switch (settings_.mode->content) {
    case PushContent::kGradient:
      ShareAverages(SpanOf(push->gradient));
      status = CheckFinite(push.get());
      break;
    case PushContent::kParameters: status = FillParameters(push.get()); break;
    case PushContent::kDifference: status = FillDifference(push.get()); break;
  }
  if (!status.ok()) return status;
  push->content = settings_.mode->content;
  push->settings = settings_.version;
  if (InRounds(settings_)) {
    push->clocks = client_.clocks();
  } else {
    push->clocks.assign(client_.clocks().size(), last_step);
  }
  client_.Push(push, then_fetch);
  return absl::OkStatus();
}

absl::Status Trainer::FillParameters(GradientBuffer* push) {
  const std::span<const float> from = replica_->exchanged();
  std::copy(from.begin(), from.end(), push->gradient.data());
  return CheckFinite(push);
}

absl::Status Trainer::FillDifference(GradientBuffer* push) {
  const StepPlan plan = Plan();
  client_.StartFetch({.after_own_push = plan.after_own_push, .settings = settings_.version});
  if (absl::Status status = client_.Install(); !status.ok()) return status;
  push->versions = client_.versions();
  const std::span<float> own = replica_->parameters();
  const std::span<const float> centre = client_.parameters();
  const float share = Elasticity();
  for (size_t i = 0; i < own.size(); ++i) {
    const float difference = share * (own[i] - centre[i]);
    own[i] -= difference;
    push->gradient.data()[i] = difference;
  }
  return CheckFinite(push);
}

void Trainer::PlainStep(std::span<const float> gradient) {
  const float rate = Rate();
  const std::span<float> parameters = replica_ ? replica_->parameters() : client_.ChangeParameters();
  if (groups_.empty()) return kernels::Axpy(-rate, gradient, parameters);
  for (const ParamGroup& group : groups_) {
    const size_t size = group.end - group.begin;
    const float step = group.settings.average ? 1 : rate * group.settings.lr_mult;
    kernels::Axpy(-step, gradient.subspan(group.begin, size), parameters.subspan(group.begin, size));
  }
}

float Trainer::Rate() const {
  return static_cast<float>(settings_.learning_rate * ScheduleFactor(job_.schedule(), step_));
}

float Trainer::Elasticity() const {
  constexpr float kDefault = 0.9f;
  const float rho = settings_.sync.rho();
  return rho == 0 ? kDefault / static_cast<float>(job_.workers()) : rho * Rate();
}

void Trainer::ShareAverages(std::span<float> push) const {
  // What a server takes from averages must together be less than the whole, or they swing: outside rounds each worker
  // takes its share, and steps that all began with the same averages one step's.
  const float workers = InRounds(settings_) ? 1 : static_cast<float>(job_.workers());
  const float share = 1 / (workers * static_cast<float>(std::max(1, steps_on_same_averages_)));
  for (const ParamGroup& group : groups_) {
    if (group.settings.average) kernels::Scale(share, push.subspan(group.begin, group.end - group.begin));
  }
}

void Trainer::Clip(std::span<float> gradient) const {
  const float limit = job_.training().clip_norm();
  if (limit == 0) return;
  const auto for_trained = [&](auto&& visit) {
    if (groups_.empty()) return visit(gradient);
    for (const ParamGroup& group : groups_) {
      if (group.begin >= gradient.size()) return;  // slots, where they are exchanged too
      if (!group.settings.average) visit(gradient.subspan(group.begin, group.end - group.begin));
    }
  };
  double squares = 0;
  for_trained([&](std::span<float> part) { squares += kernels::SumOfSquares(part); });
  const double norm = std::sqrt(squares);
  // What is not finite is told of where it is pushed.
  if (!(norm > limit) || !std::isfinite(norm)) return;
  for_trained([&](std::span<float> part) { kernels::Scale(static_cast<float>(limit / norm), part); });
}

absl::Status Trainer::CheckFinite(GradientBuffer* push) {
  const std::span<float> values = SpanOf(push->gradient);
  const auto bad = kernels::FirstNonFinite(values);
  if (!bad.has_value()) {
    bad_in_a_row_ = 0;
    ++good_pushes_;
    return absl::OkStatus();
  }
  const std::string where = TensorAt(net_.parameters(), *bad % net_.parameter_count());
  last_bad_ = where;
  {
    std::lock_guard lock(mutex_);
    report_.set_bad_gradients(report_.bad_gradients() + 1);
  }
  if (++bad_in_a_row_ >= job_.worker().max_bad_gradients()) {
    return absl::InternalError(absl::StrCat(bad_in_a_row_, replica_ ? " pushes" : " gradients",
                                            " in a row were not finite, the last in ", where, " at step ", step_,
                                            AdviceForBad(job_)));
  }
  spdlog::warn("step {}: {} not finite in {}; nothing of it is sent, and the parameters are fetched again", step_,
               replica_ ? "the worker's own parameters are" : "the gradient is", where);
  // The clock has to move for the others, but nothing of this may.
  kernels::Zero(values);
  if (replica_ != nullptr) {
    replica_->Reset();
    std::copy_n(client_.parameters().begin(), replica_->exchanged().size(), replica_->exchanged().begin());
    if (settings_.mode->content == PushContent::kParameters) {
      std::copy_n(client_.parameters().begin(), values.size(), values.begin());
    }
  }
  push->samples = 0;
  refetch_ = true;
  return absl::OkStatus();
}

void Trainer::Count(const Batch& batch, const Evaluation& result) {
  history_.Add(batch.position_after, result);
  const double loss = result.loss();
  std::lock_guard lock(mutex_);
  report_.set_step(step_);
  report_.set_epoch(batch.epoch);
  report_.set_samples(batch.position_after);
  if (std::isfinite(loss)) {
    report_.set_loss(report_.loss() + loss);
    report_.set_loss_steps(report_.loss_steps() + 1);
  } else {
    ++bad_losses_;
  }
}

absl::Status Trainer::MeasureHeldOut(uint64_t position, double epoch) {
  if (data_.held_out == nullptr || data_.held_out->size() == 0) return absl::OkStatus();
  const absl::StatusOr<Evaluation> held_out =
      Measure(&net_, parameters(), *data_.held_out, Transform(job_.data()), [this] { return !client_.status().ok(); });
  if (!held_out.ok()) return held_out.status();
  history_.SetHeldOut(position, *held_out);
  std::lock_guard lock(mutex_);
  HeldOut& report = *report_.mutable_held_out();
  report.set_epoch(epoch);
  report.set_loss_sum(held_out->loss_sum);
  report.set_correct(held_out->correct);
  report.set_weight(held_out->weight);
  return absl::OkStatus();
}

WorkerReport Trainer::TakeReport() {
  const double now = Now();
  std::lock_guard lock(mutex_);
  if (rate_seconds_ > 0 && now > rate_seconds_) {
    report_.set_samples_per_second(static_cast<double>(report_.samples() - rate_samples_) / (now - rate_seconds_));
  }
  if (began_seconds_ > 0) report_.set_seconds(now - began_seconds_);
  rate_seconds_ = now;
  rate_samples_ = report_.samples();
  WorkerReport taken = report_;
  taken.set_staleness(client_.TakeMeanStaleness());
  if (taken.loss_steps() > 0) {
    taken.set_loss(taken.loss() / taken.loss_steps());
  } else if (bad_losses_ > 0) {
    taken.set_loss(std::nan(""));
    taken.set_loss_steps(bad_losses_);
  }
  bad_losses_ = 0;
  report_.set_loss(0);
  report_.set_loss_steps(0);
  return taken;
}

}  // namespace downpour::worker
