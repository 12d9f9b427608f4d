#include "tools/ps_run/run_options.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "worker/data/format.h"

namespace downpour::run {

absl::Status CheckRunOptions(const RunOptions& options, bool peers) {
  const Data& data = options.job.data();
  const bool apart = worker::LabelsAreApart(data.format());
  if (options.launcher == Launcher::kLocal && (!data.train().has_images() || (apart && !data.train().has_labels()))) {
    return absl::InvalidArgumentError(absl::StrCat("data.train.images", apart ? " and data.train.labels are" : " is",
                                                   " missing; workers that no launcher feeds read them"));
  }
  if (!options.slow_downs.empty()) {
    if (options.launcher != Launcher::kLocal) {
      return absl::InvalidArgumentError("--slow-down is for workers that are started here; others take it themselves");
    }
    if (const uint32_t last = options.slow_downs.rbegin()->first; last >= options.job.workers()) {
      return absl::InvalidArgumentError(absl::StrCat("--slow-down ", last, "=...: the job has workers: ",
                                                     options.job.workers(), "; partitions count from 0"));
    }
  }
  if (peers && options.job.run().record()) {
    return absl::InvalidArgumentError("run.record, --record: where the shards live in the workers nothing records them; "
                                      "such a job gives the same bits in each run");
  }
  if (peers && (!options.restore.empty() || !options.job.checkpoint().folder().empty() ||
                options.job.checkpoint().every_s() > 0 || options.job.checkpoint().every_steps() > 0)) {
    return absl::InvalidArgumentError("checkpoint, --restore: where the shards live in the workers none are written yet");
  }
  if (options.attach && !options.restore.empty()) {
    return absl::InvalidArgumentError("--restore: of servers that run already, ps-ctl restore asks it");
  }
  if (options.attach && peers) {
    return absl::InvalidArgumentError("--attach: with this sync.mode there are no servers, the workers hold the parameters");
  }
  if (options.attach && options.job.run().record()) {
    return absl::InvalidArgumentError("run.record, --record: servers that run already record where their own --record says");
  }
  if (peers && absl::StartsWith(options.job.servers().addresses(0), "unix:")) {
    return absl::InvalidArgumentError(absl::StrCat("servers.addresses: '", options.job.servers().addresses(0),
                                                   "' has no host; where the shards live in the workers, these meet "
                                                   "on the host of the first"));
  }
  return absl::OkStatus();
}

}  // namespace downpour::run
