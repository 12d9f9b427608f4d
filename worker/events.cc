#include "worker/events.h"

#include <unistd.h>

#include <cmath>

#include <nlohmann/json.hpp>

#include "worker/line_writer.h"

namespace downpour::worker {
namespace {

using nlohmann::json;

constexpr std::chrono::milliseconds kPatience{1000};
constexpr size_t kMaxReason = 2000;

// JSON has no NaN and no infinity.
json Number(double value) { return std::isfinite(value) ? json(value) : json(nullptr); }

json Result(const Evaluation& evaluation, bool classes) {
  if (evaluation.weight == 0) return nullptr;
  return {{"loss", Number(evaluation.loss())},
          {"accuracy", classes ? Number(evaluation.accuracy()) : json(nullptr)},
          {"weight", evaluation.weight}};
}

std::string Line(const json& object) {
  return object.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace

void Events::Started(const std::vector<std::string>& servers) {
  Write(Line({{"event", "started"}, {"partition", partition_}, {"pid", getpid()}, {"servers", servers}}), kPatience);
}

void Events::Listening(const std::string& address, const std::string& metrics) {
  Write(Line({{"event", "listening"}, {"partition", partition_}, {"address", address}, {"metrics", metrics}}), kPatience);
}

void Events::Loaded(const LoadedRows& rows) {
  Write(Line({{"event", "loaded"},
              {"partition", partition_},
              {"samples", rows.samples},
              {"held_out", rows.held_out},
              {"bytes", rows.bytes},
              {"memory_bytes", rows.memory_bytes},
              {"spooled_bytes", rows.spooled_bytes},
              {"bound_bytes", rows.bound_bytes}}),
        kPatience);
}

void Events::Progress(const WorkerReport& report) {
  Write(Line({{"event", "progress"},
              {"partition", partition_},
              {"step", report.step()},
              {"epoch", Number(report.epoch())},
              {"samples", report.samples()},
              {"loss", report.loss_steps() > 0 ? Number(report.loss()) : json(nullptr)},
              {"samples_per_second", Number(report.samples_per_second())},
              {"staleness", Number(report.staleness())}}),
        std::chrono::milliseconds(0));
}

void Events::Done(const WorkerReport& report, double loss, double seconds, std::span<const EpochResult> epochs,
                  bool classes) {
  json list = json::array();
  for (const EpochResult& epoch : epochs) {
    list.push_back({{"train", Result(epoch.train, classes)}, {"held_out", Result(epoch.held_out, classes)}});
  }
  Write(Line({{"event", "done"},
              {"partition", partition_},
              {"steps", report.step()},
              {"samples", report.samples()},
              {"loss", Number(loss)},
              {"seconds", Number(seconds)},
              {"epochs", list}}),
        kPatience);
}

void Events::Failed(const std::string& reason, const std::string& hint) {
  // Short enough to be written whole.
  Write(Line({{"event", "failed"}, {"partition", partition_}, {"reason", reason.substr(0, kMaxReason)}, {"hint", hint}}),
        kPatience);
}

void Events::Write(const std::string& line, std::chrono::milliseconds patience) {
  std::lock_guard lock(mutex_);
  WriteWithin(STDOUT_FILENO, line, patience);
}

}  // namespace downpour::worker
