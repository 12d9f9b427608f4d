#include "tools/ps_run/checkpoints.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tools/job_servers/clocks.h"

namespace downpour::run {
namespace {

// A checkpoint that takes longer waits for a clock that does not come; the next takes its place.
constexpr double kLongestSeconds = 600;

bool SomebodyWorks(const std::vector<StatusReply>& servers) {
  return std::ranges::any_of(servers[0].workers(), [](const WorkerStatus& worker) {
    return worker.state() == WorkerStatus::LIVE && worker.report().step() > 0;
  });
}

}  // namespace

std::optional<Checkpoints::News> Checkpoints::Turn(const std::vector<StatusReply>& servers, double now) {
  News news;
  size_t done = 0;
  for (size_t i = 0; i < servers.size(); ++i) {
    const CheckpointStatus& checkpoint = servers[i].checkpoint();
    news.number = std::max(news.number, checkpoint.number());
    news.clock = checkpoint.clock();
    news.bytes += checkpoint.bytes();
    news.seconds = std::max(news.seconds, checkpoint.seconds());
    news.late += checkpoint.parts_late();
    if (checkpoint.state() == CheckpointStatus::DONE) ++done;
    if (checkpoint.state() == CheckpointStatus::FAILED && news.problem.empty()) {
      news.problem = absl::StrCat("server ", i, ": ", checkpoint.reason());
    }
  }
  const bool alike = std::ranges::all_of(
      servers, [&](const StatusReply& server) { return server.checkpoint().number() == news.number; });
  const bool over = alike && (done == servers.size() || !news.problem.empty());
  if (over && news.number > told_) {
    told_ = news.number;
    under_way_ = 0;
    return news;
  }
  const bool waits = under_way_ != 0 && news.number <= under_way_ && !over;
  if (waits && now - begun_seconds_ < kLongestSeconds) return std::nullopt;
  if (!SomebodyWorks(servers) || !IsDue(servers, now)) return std::nullopt;
  begun_seconds_ = now;
  begun_step_ = FurthestStep(servers);
  return Begin(servers);
}

bool Checkpoints::IsDue(const std::vector<StatusReply>& servers, double now) const {
  const auto& plan = job_.checkpoint();
  if (plan.every_s() > 0 && now - begun_seconds_ >= plan.every_s()) return true;
  return plan.every_steps() > 0 && FurthestStep(servers) >= begun_step_ + plan.every_steps();
}

std::optional<Checkpoints::News> Checkpoints::Begin(const std::vector<StatusReply>& servers) {
  const auto next = PlanCheckpoint(job_, servers);
  if (!next.ok()) return News{.problem = std::string(next.status().message())};
  under_way_ = next->number;
  const absl::Status status = servers_.Checkpoint(next->number, next->clock);
  if (status.ok()) return std::nullopt;
  // Where no server has begun it, the next has this number too.
  under_way_ = 0;
  return News{.number = next->number, .clock = next->clock, .problem = std::string(status.message())};
}

}  // namespace downpour::run
