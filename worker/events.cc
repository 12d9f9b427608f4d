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

json Result(const Measured& measured) {
  if (measured.weight() == 0) return nullptr;
  return {{"loss", Number(measured.loss_sum() / measured.weight())},
          {"accuracy", measured.has_correct() ? Number(measured.correct() / measured.weight()) : json(nullptr)},
          {"weight", measured.weight()}};
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

void Events::Waiting(const WorkerStatus& holder) {
  Write(Line({{"event", "waiting"},
              {"partition", partition_},
              {"attempt", std::to_string(holder.attempt().stage()) + "." + std::to_string(holder.attempt().task())},
              {"host", holder.host()},
              {"pid", holder.pid()},
              {"silent_ms", holder.silent_ms()}}),
        std::chrono::milliseconds(0));
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

void Events::Done(const WorkerReport& report) {
  json epochs = json::array();
  for (const EpochReport& epoch : report.epochs()) {
    epochs.push_back({{"train", Result(epoch.train())}, {"held_out", Result(epoch.held_out())}});
  }
  Write(Line({{"event", "done"},
              {"partition", partition_},
              {"steps", report.step()},
              {"samples", report.samples()},
              {"loss", report.loss_steps() > 0 ? Number(report.loss()) : json(nullptr)},
              {"seconds", Number(report.seconds())},
              {"epochs", epochs}}),
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
