#include "worker/events.h"

#include <unistd.h>

#include <cmath>

#include <nlohmann/json.hpp>

namespace downpour::worker {
namespace {

using nlohmann::json;

// JSON has no NaN and no infinity.
json Number(double value) { return std::isfinite(value) ? json(value) : json(nullptr); }

std::string Line(const json& object) {
  return object.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace

void Events::Started(const std::vector<std::string>& servers) {
  Write(Line({{"event", "started"}, {"partition", partition_}, {"pid", getpid()}, {"servers", servers}}));
}

void Events::Loaded(uint64_t samples, uint64_t bytes) {
  Write(Line({{"event", "loaded"}, {"partition", partition_}, {"samples", samples}, {"bytes", bytes}}));
}

void Events::Progress(const WorkerReport& report) {
  Write(Line({{"event", "progress"},
              {"partition", partition_},
              {"step", report.step()},
              {"epoch", Number(report.epoch())},
              {"samples", report.samples()},
              {"loss", report.loss_steps() > 0 ? Number(report.loss()) : json(nullptr)},
              {"samples_per_second", Number(report.samples_per_second())},
              {"staleness", Number(report.staleness())}}));
}

void Events::Done(const WorkerReport& report, double loss, double seconds) {
  Write(Line({{"event", "done"},
              {"partition", partition_},
              {"steps", report.step()},
              {"samples", report.samples()},
              {"loss", Number(loss)},
              {"seconds", Number(seconds)}}));
}

void Events::Failed(const std::string& reason, const std::string& hint) {
  Write(Line({{"event", "failed"}, {"partition", partition_}, {"reason", reason}, {"hint", hint}}));
}

void Events::Write(const std::string& line) {
  std::lock_guard lock(mutex_);
  for (size_t at = 0; at < line.size();) {
    const ssize_t n = write(STDOUT_FILENO, line.data() + at, line.size() - at);
    if (n <= 0) return;
    at += n;
  }
}

}  // namespace downpour::worker
