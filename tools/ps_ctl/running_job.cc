#include "tools/ps_ctl/running_job.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "proto/address.h"
#include "proto/job_config.h"

namespace downpour::ctl {

RunningJob::RunningJob(CLI::App* flags) {
  flags->add_option("job", target_, "The run folder, or the job file")->required();
  flags->add_option("--servers", servers_, "host:port or unix:path of each server, separated by commas; default: the job's");
}

absl::StatusOr<Job> RunningJob::Load() const {
  std::error_code error;
  std::string path = target_;
  if (std::filesystem::is_directory(path, error)) {
    if (std::filesystem::exists(path + "/summary.json", error)) {
      return absl::FailedPreconditionError(
          absl::StrCat("the run in ", path, " has ended; ps-run ", path, " shows its summary"));
    }
    path += "/job.yaml";
  }
  absl::StatusOr<Job> job = LoadJob(path);
  if (!job.ok()) return job;
  const int wanted = job->servers().addresses_size();
  if (!servers_.empty()) {
    job->mutable_servers()->clear_addresses();
    const std::vector<std::string> addresses = absl::StrSplit(servers_, ',');
    for (const std::string& address : addresses) {
      if (absl::Status good = CheckConnectAddress(address); !good.ok()) {
        return absl::InvalidArgumentError(absl::StrCat("--servers: ", good.message()));
      }
      job->mutable_servers()->add_addresses(address);
    }
    if (job->servers().addresses_size() != wanted) {
      return absl::InvalidArgumentError(
          absl::StrCat("--servers names ", job->servers().addresses_size(), " servers; the job has ", wanted));
    }
  }
  for (const std::string& address : job->servers().addresses()) {
    if (absl::Status good = CheckConnectAddress(address); !good.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the servers' addresses: ", good.message(),
                       "; name the run folder, whose job.yaml has those that were chosen, or --servers"));
    }
  }
  return job;
}

}  // namespace downpour::ctl
