// Servers that somebody else started, and whether a run can begin on them.
#pragma once

#include "absl/status/status.h"
#include "proto/job.pb.h"

namespace downpour::run {

// Asks each of the job's servers.addresses. A ps-server serves one run, so it must be new: no worker has come to it, and
// it holds no parameters. Blocks, for up to nine seconds a server that does not answer.
//
// Unavailable, naming the server, where one does not answer; it may be on its way. FailedPrecondition where one works for
// another job, is another of the job's servers, does not agree with the job, or is not new, with what to do.
absl::Status CheckRunningServers(const Job& job);

}  // namespace downpour::run
