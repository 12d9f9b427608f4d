// What a run leaves behind.
#pragma once

#include <fstream>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/job.pb.h"

namespace downpour::run {

// A folder with job.yaml (resolved), logs/, metrics.jsonl, model.safetensors, plot.png, summary.json, and record/ where
// run.record says so. Files other than logs, metrics and recordings appear whole or not at all. One thread at a time may use it.
class RunFolder {
 public:
  // Makes `path`, which must not exist; where `path` is empty, `<job.run.dir>/<job.name>-<date>-<time>`.
  static absl::StatusOr<RunFolder> Make(const Job& job, const std::string& path);

  const std::string& path() const { return path_; }
  std::string File(absl::string_view name) const;
  std::string LogFile(absl::string_view process) const;

  absl::Status WriteJob(const Job& job) const;
  absl::Status WriteSummary(const nlohmann::ordered_json& summary) const;
  // Adds one line to metrics.jsonl.
  void AddMetrics(const nlohmann::ordered_json& line);

 private:
  explicit RunFolder(std::string path);

  std::string path_;
  std::ofstream metrics_;
};

// Writes beside `path` and renames.
absl::Status WriteWhole(const std::string& path, absl::string_view text);

// summary.json of a finished run. NotFound, saying what is missing, where `path` is no run folder.
absl::StatusOr<nlohmann::ordered_json> ReadSummary(const std::string& path);

}  // namespace downpour::run
