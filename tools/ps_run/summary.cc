#include "tools/ps_run/summary.h"

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tools/ps_run/progress_line.h"
#include "tools/ps_run/training_loss.h"

namespace downpour::run {
namespace {

using nlohmann::ordered_json;

std::string ResultName(RunResult result) {
  switch (result) {
    case RunResult::kDone: return "done";
    case RunResult::kIncomplete: return "incomplete";
    case RunResult::kFailed: return "failed";
    case RunResult::kStopped: return "stopped";
  }
  return "failed";
}

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

// Null for a worker that was not seen to finish.
ordered_json FinishedAt(const RunOutcome& outcome, uint32_t partition) {
  if (partition >= outcome.finished.size() || !outcome.finished[partition]) return nullptr;
  return *outcome.finished[partition];
}

// Attempts that did not complete their partition.
ordered_json EndedOf(const WorkerStatus& worker) {
  ordered_json all = ordered_json::array();
  for (const EndedAttempt& ended : worker.ended()) {
    all.push_back({{"attempt", absl::StrCat(ended.attempt().stage(), ".", ended.attempt().task())},
                   {"host", ended.host()},
                   {"state", Lower(WorkerStatus::State_Name(ended.state()))},
                   {"reason", ended.reason()},
                   {"samples", ended.samples()},
                   {"number", ended.number()}});
  }
  return all;
}

ordered_json Result(const Measured& measured) {
  if (measured.weight() == 0) return nullptr;
  return {{"loss", measured.loss_sum() / measured.weight()},
          {"accuracy", measured.has_correct() ? ordered_json(measured.correct() / measured.weight()) : ordered_json(nullptr)},
          {"weight", measured.weight()}};
}

// As a worker's `done` event has them (worker/CONTRACT.md).
ordered_json EpochsOf(const WorkerStatus& worker) {
  ordered_json all = ordered_json::array();
  for (const EpochReport& epoch : worker.report().epochs()) {
    all.push_back({{"train", Result(epoch.train())}, {"held_out", Result(epoch.held_out())}});
  }
  return all;
}

// What travelled, through sockets and shared memory; "" where nothing is known of it.
std::string WireText(const ordered_json& summary) {
  const double to = summary.value("bytes_to_servers", 0.0);
  const double from = summary.value("bytes_from_servers", 0.0);
  if (to == 0 && from == 0) return "";
  std::string text = absl::StrFormat("%.1f MB to the servers, %.1f MB from them", to / 1e6, from / 1e6);
  const auto combined = summary.value("combined_part_pushes", uint64_t{0});
  const auto pushes = summary.value("part_pushes", uint64_t{0});
  if (combined > 0) {
    absl::StrAppend(&text, ", ", FormatCount(combined), " of ", FormatCount(pushes), " pushes of parts combined");
  }
  return text;
}

}  // namespace

ordered_json MakeSummary(const Job& job, const std::string& folder, const RunOutcome& outcome) {
  const Advance advance = AdvanceOf(job, outcome.status);
  ordered_json summary = {{"job", job.name()}, {"result", ResultName(outcome.result)}, {"problems", outcome.problems}};
  summary["seconds"] = outcome.seconds;
  summary["epochs"] = advance.epoch;
  summary["samples"] = advance.samples;
  const uint64_t trained = advance.samples - std::min(advance.samples, outcome.samples_before);
  summary["images_per_second"] = outcome.seconds > 0 && trained > 0
                                     ? ordered_json(static_cast<double>(trained) / outcome.seconds)
                                     : ordered_json(nullptr);
  const bool measured = !outcome.series.evaluations.empty();
  const std::optional<double> accuracy = measured ? outcome.series.evaluations.back().accuracy : std::nullopt;
  summary["accuracy"] = accuracy ? ordered_json(*accuracy) : ordered_json(nullptr);
  summary["top_k"] = measured ? ordered_json(outcome.series.evaluations.back().top_k) : ordered_json(nullptr);
  summary["held_out_loss"] = measured ? ordered_json(outcome.series.evaluations.back().loss) : ordered_json(nullptr);
  const std::optional<TrainingLoss> loss = TrainingLossOf(outcome.status);
  summary["training_loss"] = loss                            ? ordered_json(loss->last)
                             : outcome.series.points.empty() ? ordered_json(nullptr)
                                                             : ordered_json(outcome.series.points.back().loss);
  summary["bytes_to_servers"] = outcome.traffic.to_servers;
  summary["bytes_from_servers"] = outcome.traffic.from_servers;
  summary["mean_staleness"] = outcome.status.MeanStaleness();
  summary["part_pushes"] = outcome.status.pushes;
  summary["combined_part_pushes"] = outcome.status.combined;
  summary["checkpoints"] = outcome.checkpoints;
  summary["refused"] = ordered_json::object();
  for (const auto& [reason, count] : outcome.status.refused) summary["refused"][reason] = count;
  summary["workers"] = ordered_json::array();
  for (const WorkerStatus& worker : outcome.status.workers) {
    // Those that were alive when the run was stopped were stopped with it.
    const bool stopped = outcome.result == RunResult::kStopped && worker.state() == WorkerStatus::LIVE;
    summary["workers"].push_back({{"partition", worker.partition()},
                                  {"state", stopped ? "left" : Lower(WorkerStatus::State_Name(worker.state()))},
                                  {"steps", worker.report().step()},
                                  {"samples", worker.report().samples()},
                                  {"seconds", FinishedAt(outcome, worker.partition())},
                                  {"loss", worker.report().loss_steps() > 0 ? ordered_json(worker.report().loss())
                                                                            : ordered_json(nullptr)},
                                  {"epochs", EpochsOf(worker)},
                                  {"bad_gradients", worker.report().bad_gradients()},
                                  {"reason", worker.reason()},
                                  {"ended", EndedOf(worker)}});
  }
  summary["files"] = {{"folder", folder},
                      {"job", absl::StrCat(folder, "/job.yaml")},
                      {"metrics", absl::StrCat(folder, "/metrics.jsonl")},
                      {"logs", absl::StrCat(folder, "/logs")}};
  if (outcome.model) summary["files"]["model"] = *outcome.model;
  if (outcome.plot) summary["files"]["plot"] = *outcome.plot;
  return summary;
}

std::string SummaryText(const ordered_json& summary) {
  const std::string result = summary.value("result", "failed");
  std::string text = absl::StrCat(summary.value("job", "?"), ": ", result);
  if (summary.contains("accuracy") && summary["accuracy"].is_number()) {
    const bool has_top_k = summary.contains("top_k") && summary["top_k"].is_number();
    absl::StrAppend(&text, absl::StrFormat(", %.2f %% held-out %s", summary["accuracy"].get<double>() * 100,
                                           AccuracyName(has_top_k ? summary["top_k"].get<int>() : 1)));
  }
  absl::StrAppend(&text, " after ", FormatCount(summary.value("samples", uint64_t{0})), " images in ",
                  FormatDuration(summary.value("seconds", 0.0)));
  if (summary.contains("images_per_second") && summary["images_per_second"].is_number()) {
    absl::StrAppend(&text, " (",
                    FormatCount(std::llround(summary["images_per_second"].get<double>())), " images/s)");
  }
  absl::StrAppend(&text, "\n");
  if (summary.contains("problems")) {
    for (const auto& problem : summary["problems"]) absl::StrAppend(&text, "  ! ", problem.get<std::string>(), "\n");
  }
  if (const std::string wire = WireText(summary); !wire.empty()) absl::StrAppend(&text, "  wire     ", wire, "\n");
  if (summary.contains("files")) {
    for (const char* name : {"model", "plot", "metrics", "job", "logs"}) {
      if (summary["files"].contains(name)) {
        absl::StrAppend(&text, absl::StrFormat("  %-8s %s\n", name, summary["files"][name].get<std::string>()));
      }
    }
  }
  return text;
}

}  // namespace downpour::run
