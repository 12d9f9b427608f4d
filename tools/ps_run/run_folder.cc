#include "tools/ps_run/run_folder.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "proto/job_config.h"
#include "tools/ps_run/json_text.h"

namespace downpour::run {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

}  // namespace

RunFolder::RunFolder(std::string path) : path_(std::move(path)), metrics_(File("metrics.jsonl")) {}

absl::StatusOr<RunFolder> RunFolder::Make(const Job& job, const std::string& path) {
  std::error_code error;
  std::string chosen = path;
  if (chosen.empty()) {
    const std::string time = absl::FormatTime("%Y%m%d-%H%M%S", absl::Now(), absl::LocalTimeZone());
    const std::string stem = fs::path(job.run().dir()) / absl::StrCat(job.name(), "-", time);
    chosen = stem;
    fs::create_directories(fs::path(stem).parent_path(), error);
    // Whoever makes it owns it: runs may start in the same second.
    for (int i = 2; !error && !fs::create_directory(chosen, error); ++i) chosen = absl::StrCat(stem, "-", i);
  } else if (fs::exists(chosen, error) && !fs::is_empty(chosen, error)) {
    return absl::AlreadyExistsError(absl::StrCat("the run folder ", chosen, " exists and is not empty"));
  }
  if (!error) chosen = fs::absolute(chosen, error).lexically_normal();
  if (!error) fs::create_directories(fs::path(chosen) / "logs", error);
  if (error) return absl::UnavailableError(absl::StrCat("can't make the run folder ", chosen, ": ", error.message()));
  return RunFolder(chosen);
}

std::string RunFolder::File(absl::string_view name) const { return absl::StrCat(path_, "/", name); }
std::string RunFolder::LogFile(absl::string_view process) const {
  return absl::StrCat(path_, "/logs/", process, ".log");
}

absl::Status RunFolder::WriteJob(const Job& job) const { return WriteWhole(File("job.yaml"), JobToYaml(job)); }

absl::Status RunFolder::WriteSummary(const ordered_json& summary) const {
  return WriteWhole(File("summary.json"), JsonText(summary, 2) + "\n");
}

void RunFolder::AddMetrics(const ordered_json& line) { metrics_ << JsonText(line) << std::endl; }

absl::Status WriteWhole(const std::string& path, absl::string_view text) {
  const std::string beside = absl::StrCat(path, ".part");
  {
    std::ofstream out(beside, std::ios::binary | std::ios::trunc);
    out << text;
    out.close();
    if (out && std::rename(beside.c_str(), path.c_str()) == 0) return absl::OkStatus();
  }
  const std::string why = std::strerror(errno);
  std::remove(beside.c_str());
  return absl::UnavailableError(absl::StrCat("can't write ", path, ": ", why));
}

absl::StatusOr<ordered_json> ReadSummary(const std::string& path) {
  const std::string file = absl::StrCat(path, "/summary.json");
  std::error_code error;
  if (!fs::exists(file, error)) {
    const bool running = fs::exists(absl::StrCat(path, "/job.yaml"), error);
    return absl::NotFoundError(absl::StrCat(path, running ? " has no summary.json yet: the run goes on, or was killed"
                                                          : " is not a run folder: it has no summary.json"));
  }
  std::ifstream in(file);
  ordered_json summary = ordered_json::parse(in, nullptr, false);
  if (summary.is_discarded()) return absl::DataLossError(absl::StrCat(file, " is not JSON"));
  return summary;
}

}  // namespace downpour::run
