// The flags that name a running job.
#pragma once

#include <string>

#include <CLI/CLI.hpp>

#include "absl/status/statusor.h"
#include "proto/job.pb.h"

namespace downpour::ctl {

class RunningJob {
 public:
  // `flags` must not outlive it.
  explicit RunningJob(CLI::App* flags);

  // The job with the addresses of its servers. InvalidArgument, NotFound: the flags; FailedPrecondition: it has ended.
  absl::StatusOr<Job> Load() const;

 private:
  std::string target_;
  std::string servers_;
};

}  // namespace downpour::ctl
