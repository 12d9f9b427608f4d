// What a run is to do, beside its job.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "proto/job.pb.h"
#include "tools/ps_run/terminal.h"

namespace downpour::run {

enum class Launcher {
  kLocal,     // workers are started here and read the job's data.train
  kExternal,  // somebody else starts and feeds them
};

struct RunOptions {
  Job job;
  Launcher launcher = Launcher::kLocal;
  bool attach = false;               // the servers run already, at the job's servers.addresses, and stay
  std::string binaries;              // folder of ps-server and ps-worker
  std::string restore;               // a folder of checkpoints to go on from; empty to begin anew
  std::string run_dir;               // empty: a new folder under job.run.dir
  std::string cluster_file;          // where external launchers learn the servers, or why there are none; empty: nowhere
  std::map<uint32_t, double> slow_downs;  // by partition, how many times as long its steps take
  std::optional<int> lifeline_fd;    // the run stops when its other end closes; what was written there is the reason
  int signal_fd = -1;                // a signalfd of SIGINT, SIGTERM, SIGHUP and SIGCHLD, which are blocked
  Voice voice = Voice::kPlain;
};

// Whether job and options agree. peers: the shards live in the workers.
absl::Status CheckRunOptions(const RunOptions& options, bool peers);

}  // namespace downpour::run
