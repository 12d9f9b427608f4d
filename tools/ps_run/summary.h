// What a run came to, as JSON (summary.json) and as text.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "proto/job.pb.h"
#include "tools/ps_run/job_status.h"
#include "tools/ps_run/series.h"

namespace downpour::run {

enum class RunResult {
  kDone,        // all workers went through their data
  kIncomplete,  // some did, others failed or were lost
  kFailed,
  kStopped,     // by a signal, or because whoever started it is gone
};

struct RunOutcome {
  RunResult result = RunResult::kFailed;
  std::vector<std::string> problems;  // one sentence each
  double seconds = 0;                 // from the first worker's first step to the last one's end
  Traffic traffic;
  uint64_t checkpoints = 0;     // that were written
  uint64_t samples_before = 0;  // of the run from whose checkpoint it goes on
  std::vector<std::optional<double>> finished;  // by partition, the second at which its worker was done
  Series series;
  JobStatus status;                   // the last that was read
  std::optional<std::string> model;   // paths, where there is such a file
  std::optional<std::string> plot;
};

nlohmann::ordered_json MakeSummary(const Job& job, const std::string& folder, const RunOutcome& outcome);

// The same for people; reads nothing but the JSON, so that an old run is shown as a new one is.
std::string SummaryText(const nlohmann::ordered_json& summary);

}  // namespace downpour::run
