// A replay with a process for each of its servers, as the run had: nothing is shared, not even the addresses at which
// things happen to lie.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ps/replay.h"

namespace downpour::replay {

// The number under which such a process finds the pipe to whoever started it.
inline constexpr int kReportFd = 3;

// Starts `program` once for each server, with `arguments` and `--share SERVER`, and puts together what they report.
// Errors as ps::Replay(); Internal, with how it ended, for a process that did not come to its end.
absl::StatusOr<ps::Replayed> ReplayInProcesses(const std::string& program, const std::vector<std::string>& arguments,
                                               uint32_t servers);

// The other side: reports what a share came to. Unavailable when nobody reads.
absl::Status ReportShare(const absl::StatusOr<ps::Replayed>& replayed, int fd);

}  // namespace downpour::replay
