// The control plane's part in checkpoints: when one begins, and how its parts come back.
#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/job_config.h"
#include "proto/settings.h"
#include "proto/shard_map.h"
#include "proto/sync/mode.h"
#include "ps/control.h"
#include "ps/table_memory.h"
#include "ps/table_spec.h"

namespace downpour::ps {
namespace {

constexpr auto kPartTimeout = std::chrono::seconds(20);
constexpr uint64_t kMostClock = uint64_t{1} << 40;

int64_t UnixUs() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

absl::Status NotOurs(const FoundCheckpoint& found, absl::string_view why) {
  return absl::FailedPreconditionError(absl::StrCat("checkpoint ", found.number, " (", found.files[0], ") ", why));
}

}  // namespace

absl::Status Control::Checkpoint(const CheckpointRequest& request) {
  if (absl::Status status = CheckJob(request.job()); !status.ok()) return status;
  if (checkpointer_ == nullptr) {
    return absl::FailedPreconditionError("the job says no checkpoint.folder to write one to");
  }
  if (request.clock() > kMostClock) return absl::InvalidArgumentError(absl::StrCat("no clock ", request.clock()));
  std::lock_guard lock(mutex_);
  if (absl::Status status = CheckServes(); !status.ok()) return status;
  if (table_.elements() == 0) {
    return absl::FailedPreconditionError("there is nothing to keep: no worker has come yet");
  }
  const MemoryUse use{AllGoTogether(settings_), true};
  if (absl::Status status = CheckTableMemory(job_, use, table_, ElementsOn(map_, server_)); !status.ok()) return status;
  CheckpointHeader header;
  header.set_number(request.number());
  header.set_clock(request.clock());
  header.set_id(request.id());
  for (WorkerReport& report : membership_.Reports()) *header.add_workers() = std::move(report);
  header.set_job(JobToYaml(job_));
  header.set_servers(static_cast<uint32_t>(job_.servers().addresses_size()));
  *header.mutable_table() = table_;
  header.set_parts(static_cast<uint32_t>(map_.tables(0).parts_size()));
  header.mutable_changes()->Assign(settings_.changes().begin(), settings_.changes().end());
  header.set_server(server_);
  header.set_unix_us(UnixUs());
  if (absl::Status status = checkpointer_->Begin(header, directory_->parts_here); !status.ok()) return status;
  for (Shard* shard : shards_) shard->Post(downpour::ps::Checkpoint{request.number(), request.clock()});
  return absl::OkStatus();
}

absl::StatusOr<RestoreReply> Control::Restore(const RestoreRequest& request) {
  if (absl::Status status = CheckJob(request.job()); !status.ok()) return status;
  if (checkpointer_ == nullptr) {
    return absl::FailedPreconditionError("the job says no checkpoint.folder to read one from");
  }
  return RestoreFrom(checkpointer_->folder(),
                     request.number() == 0 ? std::nullopt : std::optional<uint64_t>(request.number()));
}

absl::StatusOr<RestoreReply> Control::RestoreFrom(const std::string& folder, std::optional<uint64_t> number) {
  const auto found = FindCheckpoint(folder, number);
  if (!found.ok()) return found.status();
  for (const std::string& passed_by : found->passed_by) log_.Warn(passed_by);
  if (absl::Status status = CheckIsOurs(*found); !status.ok()) return status;
  {
    std::lock_guard lock(mutex_);
    if (restoring_) return absl::FailedPreconditionError("the server is going back to a checkpoint already");
    if (absl::Status status = CheckMayRestore(*found); !status.ok()) return status;
    restoring_ = true;
  }
  const absl::Status status = RestoreAll(*found);
  {
    std::lock_guard lock(mutex_);
    restoring_ = false;
  }
  if (!status.ok()) return status;
  log_.Info(
      absl::StrCat("checkpoint ", found->number, " of ", found->headers.size(), " servers is back, from ", folder));
  RestoreReply reply;
  reply.set_number(found->number);
  reply.set_clock(found->headers[0].clock());
  for (const std::string& passed_by : found->passed_by) reply.add_passed_by(passed_by);
  return reply;
}

absl::Status Control::RestoreAll(const FoundCheckpoint& found) {
  std::lock_guard creating(table_mutex_);
  {
    std::lock_guard lock(mutex_);
    for (const SettingsChange& change : found.changes) {
      const bool again = change.version() <= settings_.latest().version;
      if (absl::Status status = settings_.Add(change); !status.ok()) return status;
      if (again) continue;
      for (Shard* shard : shards_) shard->Post(downpour::ps::Change{change});
    }
  }
  if (absl::Status status = EnsureTableOf(found); !status.ok()) return status;
  if (checkpointer_ != nullptr) checkpointer_->GiveUp("the servers went back to an earlier one");
  const absl::Status status = GiveBack(found);
  std::lock_guard lock(mutex_);
  broken_ = std::string(status.message());
  const auto& workers = found.headers[0].workers();
  if (status.ok()) membership_.Restart({workers.begin(), workers.end()});
  return status;
}

absl::Status Control::CheckIsOurs(const FoundCheckpoint& found) const {
  for (size_t i = 0; i < found.headers.size(); ++i) {
    const auto job = ParseJob(found.headers[i].job(), found.files[i]);
    if (!job.ok()) return job.status();
    if (job->name() != job_.name()) return NotOurs(found, absl::StrCat("is of job '", job->name(), "'"));
    if (job->workers() != job_.workers()) {
      return NotOurs(found, absl::StrCat("is of a job of ", job->workers(), " workers, and this one has ",
                                         job_.workers(), ": how far each is with its data would be lost"));
    }
    if (job->optimizer().name() != job_.optimizer().name()) {
      return NotOurs(found, absl::StrCat("is of optimizer ", job->optimizer().name(), ", and this job's is ",
                                         job_.optimizer().name()));
    }
    // Clocks count what the mode counts; a running job's mode may be changed, from a clock on.
    const auto mode = FindSyncMode(job_.sync().mode());
    if (!mode.ok()) return mode.status();
    const bool same = job->sync().mode() == job_.sync().mode() &&
                      IsStrong(**mode, job->sync()) == IsStrong(**mode, job_.sync()) &&
                      (*mode)->steps_a_clock(job->sync()) == (*mode)->steps_a_clock(job_.sync());
    if (!same) {
      return NotOurs(found,
                     absl::StrCat("is of sync ", SyncText(job->sync()), ", and this job's is ", SyncText(job_.sync()),
                                  ", whose clocks are others; ps-ctl set changes it once the job runs"));
    }
  }
  const uint64_t most = LargestPartBytes(job_);
  for (const PartBounds& part : found.parts) {
    const uint64_t bytes = (part.end - part.begin) * sizeof(float);
    if (bytes <= most) continue;
    return NotOurs(found, absl::StrCat("has parts of ", bytes,
                                       " bytes, which stay as they are; servers.part_bytes has to be "
                                       "as much, and is ",
                                       job_.servers().part_bytes()));
  }
  return absl::OkStatus();
}

absl::Status Control::CheckMayRestore(const FoundCheckpoint& found) const {
  if (draining_) return absl::UnavailableError("the server is shutting down");
  for (const WorkerStatus& worker : membership_.Status(clock_())) {
    if (worker.state() != WorkerStatus::LIVE) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("worker ", worker.partition(), " is at work; stop the workers first"));
  }
  if (settings_.changes().size() > found.changes.size()) {
    return absl::FailedPreconditionError(
        "settings were changed here that the checkpoint does not know; start the servers anew, with --restore");
  }
  return absl::OkStatus();
}

absl::Status Control::EnsureTableOf(const FoundCheckpoint& found) {
  const TableSpec& spec = found.headers[0].table();
  if (absl::Status status = ValidateTableSpec(spec); !status.ok()) return status;
  ShardMap map;
  map.set_version(1);
  ShardMap::Table* const table = map.add_tables();
  table->set_elements(spec.elements());
  for (const PartBounds& bounds : found.parts) {
    ShardMap::Part* const part = table->add_parts();
    part->set_begin(bounds.begin);
    part->set_end(bounds.end);
  }
  bool together = false;
  {
    std::lock_guard lock(mutex_);
    together = AllGoTogether(settings_);
    if (table_.elements() != 0) {
      if (absl::Status status = CompareTableSpecs(table_, spec); !status.ok()) return status;
      const auto& parts = map_.tables(0).parts();
      const bool alike =
          std::equal(parts.begin(), parts.end(), table->parts().begin(), table->parts().end(),
                     [](const auto& a, const auto& b) { return a.begin() == b.begin() && a.end() == b.end(); });
      if (alike) return absl::OkStatus();
      return NotOurs(found, "is cut into other parts than the servers have; start them anew, with --restore");
    }
  }
  DealParts(static_cast<uint32_t>(job_.servers().addresses_size()), static_cast<uint32_t>(shards_.size()), table);
  if (absl::Status status = ValidateShardMap(map, job_.servers().addresses_size()); !status.ok()) return status;
  if (absl::Status status = CheckTableMemory(job_, {together, PlansCheckpoints(job_)}, spec, ElementsOn(map, server_));
      !status.ok())
    return status;
  return MakeTables(spec, map, together);
}

absl::Status Control::GiveBack(const FoundCheckpoint& found) {
  ShardMap map;
  {
    std::lock_guard lock(mutex_);
    map = map_;
  }
  for (const std::string& path : found.files) {
    auto reader = CheckpointReader::Open(path);
    if (!reader.ok()) return reader.status();
    for (;;) {
      auto state = (*reader)->Next();
      if (!state.ok()) return state.status();
      if (!*state) break;
      // It may have been another file when it was read through.
      if ((*state)->part >= static_cast<uint32_t>(map.tables(0).parts_size())) {
        return absl::DataLossError(absl::StrCat(path, " has changed while it was read"));
      }
      const ShardMap::Part& part = map.tables(0).parts(static_cast<int>((*state)->part));
      if (part.server() != server_) continue;
      // One at a time, so that no more is in memory.
      const uint64_t ticket = restored_.Ask(1);
      const uint32_t index = (*state)->part;
      shards_[part.shard()]->Post(downpour::ps::Restore{ticket, **std::move(state)});
      const auto ok = restored_.Wait(ticket, kPartTimeout);
      if (!ok) return absl::UnavailableError("the server's shards are too busy to take a checkpoint; try again");
      if (!ok->front()) {
        return absl::FailedPreconditionError(absl::StrCat(path, ": part ", index,
                                                          " was not taken: a worker has come "
                                                          "meanwhile, or it is not of this job"));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace downpour::ps
