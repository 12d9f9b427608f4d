#include "ps/control.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "kernels/optimizer/update_rule.h"
#include "proto/codec/wire_codecs.h"
#include "proto/frame.h"
#include "proto/hyper.h"
#include "proto/job_config.h"
#include "proto/limits.h"
#include "proto/param_groups.h"
#include "proto/shard_map.h"
#include "ps/table_memory.h"
#include "ps/table_spec.h"
#include "ps/text.h"

namespace downpour::ps {
namespace {

constexpr auto kShardTimeout = std::chrono::seconds(20);
constexpr auto kLogTimeout = std::chrono::seconds(1);
constexpr uint64_t kMaxParts = 1 << 20;
constexpr size_t kMostNamed = 20;
constexpr size_t kMaxHost = 256;

std::shared_ptr<const Directory> MakeDirectory(const ShardMap& map, uint32_t server, uint32_t workers) {
  auto directory = std::make_shared<Directory>();
  directory->map_version = map.version();
  directory->table = map.tables(0).id();
  directory->elements = map.tables(0).elements();
  directory->workers = workers;
  for (const ShardMap::Part& part : map.tables(0).parts()) {
    Directory::Place place;
    place.elements = static_cast<uint32_t>(part.end() - part.begin());
    if (part.server() == server) {
      place.shard = static_cast<int32_t>(part.shard());
      ++directory->parts_here;
    }
    directory->parts.push_back(place);
  }
  return directory;
}

// For a rule that needs whole tensors, which then travel whole.
absl::Status CheckTensorsFitFrames(const TableSpec& spec, std::span<const ParamGroup> groups,
                                   const kernels::UpdateRule& rule) {
  for (size_t i = 0; i < groups.size(); ++i) {
    const uint64_t elements = groups[i].end - groups[i].begin;
    if (elements <= kMaxPartBytes / sizeof(float)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("tensor '", absl::CHexEscape(spec.tensors(i).name()), "' has ", elements, " elements; optimizer ",
                     std::string(rule.name), " needs each tensor in one piece, which can have at most ",
                     kMaxPartBytes / sizeof(float)));
  }
  return absl::OkStatus();
}

}  // namespace

Control::Control(const Job& job, SettingsHistory settings, uint32_t server, std::vector<Shard*> shards,
                 EdgeStats* stats, Checkpointer* checkpointer, Log log, ClockMs clock)
    : job_(job),
      server_(server),
      shards_(std::move(shards)),
      stats_(stats),
      checkpointer_(checkpointer),
      log_(std::move(log)),
      clock_(std::move(clock)),
      membership_(job.workers(), job.worker().lease_ms()),
      settings_(std::move(settings)) {}

absl::Status Control::EnsureTable(const TableSpec& spec) {
  std::lock_guard creating(table_mutex_);
  bool together = false;
  {
    std::lock_guard lock(mutex_);
    if (table_.elements() != 0) return CompareTableSpecs(table_, spec);
    together = AllGoTogether(settings_);
  }
  if (absl::Status status = ValidateTableSpec(spec); !status.ok()) return status;

  const auto found = ServerRule(job_);
  if (!found.ok()) return found.status();
  const kernels::UpdateRule* const rule = *found;
  const uint64_t servers = job_.servers().addresses_size();
  if (absl::Status status = CheckTableMemory(job_, {together, PlansCheckpoints(job_)}, spec, spec.elements() / servers); !status.ok()) {
    return status;
  }
  const uint64_t part_elements = std::max<uint64_t>(1, job_.servers().part_bytes() / sizeof(float));
  if (spec.elements() / part_elements > kMaxParts) {
    return absl::ResourceExhaustedError(absl::StrCat("the net's ", spec.elements(),
                                                     " parameters make more than ", kMaxParts,
                                                     " parts; raise servers.part_bytes"));
  }

  const std::vector<ParamGroup> groups = ParamGroups(job_, spec);
  ShardMap map;
  if (rule != nullptr && rule->per_tensor) {
    if (absl::Status status = CheckTensorsFitFrames(spec, groups, *rule); !status.ok()) return status;
    std::vector<uint64_t> begins;
    for (const ParamGroup& group : groups) begins.push_back(group.begin);
    map = MakeShardMap(spec.elements(), servers, shards_.size(), job_.servers().part_bytes(), begins);
    if (absl::Status status = CheckTableMemory(job_, {together, PlansCheckpoints(job_)}, spec, ElementsOn(map, server_)); !status.ok()) {
      return status;
    }
  } else {
    map = MakeShardMap(spec.elements(), servers, shards_.size(), job_.servers().part_bytes());
  }
  return MakeTables(spec, map, together);
}

absl::Status Control::MakeTables(const TableSpec& spec, const ShardMap& map, bool together) {
  const std::vector<ParamGroup> groups = ParamGroups(job_, spec);
  const int servers = job_.servers().addresses_size();
  std::vector<CreateTable> tables(shards_.size());
  const uint64_t ticket = created_.Ask(shards_.size());
  for (CreateTable& table : tables) table = {ticket, map.tables(0).id(), {}, groups};
  for (int i = 0; i < map.tables(0).parts_size(); ++i) {
    const ShardMap::Part& part = map.tables(0).parts(i);
    if (part.server() != server_) continue;
    tables[part.shard()].parts.push_back({static_cast<uint32_t>(i), part.begin(), part.end()});
  }
  for (size_t i = 0; i < shards_.size(); ++i) shards_[i]->Post(std::move(tables[i]));
  const auto created = created_.Wait(ticket, kShardTimeout);
  if (!created)
    return absl::UnavailableError("the server's shards are too busy to make the table; try again");
  if (!std::all_of(created->begin(), created->end(), [](bool ok) { return ok; })) {
    return absl::ResourceExhaustedError("the server has no memory left for the table");
  }
  log_.Info(absl::StrCat("table of ", spec.elements(), " parameters in ", map.tables(0).parts_size(),
                         " parts over ", servers, " servers of ", shards_.size(), " shards"));
  std::lock_guard lock(mutex_);
  if (together && !AllGoTogether(settings_)) {
    if (absl::Status status = CheckTableMemory(job_, {false, PlansCheckpoints(job_)}, spec, ElementsOn(map, server_)); !status.ok()) return status;
  }
  table_ = spec;
  map_ = map;
  directory_ = MakeDirectory(map, server_, job_.workers());
  return absl::OkStatus();
}

absl::Status Control::CheckServes() const {
  if (draining_) return absl::UnavailableError("the server is shutting down");
  if (restoring_) return absl::UnavailableError("the server is going back to a checkpoint; try again");
  if (broken_.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("the server went back to a checkpoint in part only (", broken_,
                                                    "): restore again, or start it anew"));
}

absl::StatusOr<RegisterReply> Control::Register(const RegisterRequest& request) {
  ++stats_->registrations;
  auto reply = RegisterChecked(request);
  if (!reply.ok()) {
    ++stats_->registrations_refused;
    log_.Worker(request.partition()).Warn(absl::StrCat("registration refused: ", reply.status().message()));
  }
  return reply;
}

absl::StatusOr<RegisterReply> Control::RegisterChecked(const RegisterRequest& request) {
  Job job;
  TableSpec table;
  if (request.job().size() > kMaxRegisterBytes || request.table().size() > kMaxRegisterBytes ||
      !job.ParseFromString(request.job()) || !table.ParseFromString(request.table())) {
    return absl::InvalidArgumentError(absl::StrCat("a registration whose job or table is malformed or over ",
                                                   kMaxRegisterBytes, " bytes"));
  }
  if (job.name() != job_.name()) {
    return absl::FailedPreconditionError(absl::StrCat("this server works for job '", job_.name(),
                                                      "', the worker for '", job.name().substr(0, 64), "'"));
  }
  if (absl::Status status = CheckAgreement(job_, job); !status.ok()) return status;
  {
    std::lock_guard lock(mutex_);
    if (absl::Status status = CheckServes(); !status.ok()) return status;
  }
  const bool observer = request.role() == OBSERVER;
  // An observer need not know the net.
  if (!observer || table.elements() != 0) {
    if (absl::Status status = EnsureTable(table); !status.ok()) return status;
  }

  RegisterReply reply;
  uint64_t ticket = 0;
  {
    std::lock_guard lock(mutex_);
    if (absl::Status status = CheckServes(); !status.ok()) return status;
    const Candidate candidate{request.partition(),
                              {request.attempt().stage(), request.attempt().task()},
                              observer,
                              Beginning(request.host(), kMaxHost),
                              request.pid()};
    auto admission = membership_.Register(candidate, clock_());
    if (!admission.ok()) return admission.status();
    if (admission->holder) {
      if (admission->news) LogTurnedAway(candidate, *admission->holder);
      *reply.mutable_holder() = *std::move(admission->holder);
      reply.set_server(server_);
      return reply;
    }
    const uint64_t fence = admission->fence;
    reply.set_fence(fence);
    if (admission->earlier) *reply.mutable_earlier() = *std::move(admission->earlier);
    *reply.mutable_map() = map_;
    reply.mutable_changes()->Assign(settings_.changes().begin(), settings_.changes().end());
    // Under the lock, so that all shards see joins in the order of their fences.
    ticket = reports_.Ask(shards_.size());
    const uint32_t generation = request.attempt().stage();
    for (Shard* shard : shards_) shard->Post(Join{ticket, request.partition(), fence, observer, generation});
    if (!observer) log_.Info(absl::StrCat(membership_.Describe(request.partition()), " joined, fence ", fence));
  }
  const auto reports = reports_.Wait(ticket, kShardTimeout);
  if (!reports) return absl::UnavailableError("the server's shards are too busy to answer; try again");

  reply.set_lease_ms(job_.worker().lease_ms());
  reply.set_server(server_);
  std::optional<PartitionProgress> least;
  for (const Report& report : *reports) {
    for (const uint32_t part : report.unset_parts) reply.add_unset_parts(part);
    if (!report.progress) continue;
    if (!least || std::pair(report.progress->sequence, report.progress->clock) <
                      std::pair(least->sequence, least->clock)) {
      least = report.progress;
    }
  }
  std::sort(reply.mutable_unset_parts()->begin(), reply.mutable_unset_parts()->end());
  if (least) {
    reply.mutable_progress()->set_sequence(least->sequence);
    reply.mutable_progress()->set_clock(least->clock);
    reply.mutable_progress()->set_position(least->position);
  }
  return reply;
}

void Control::LogTurnedAway(const Candidate& candidate, const WorkerStatus& holder) {
  ++stats_->registrations_turned_away;
  const bool live = holder.state() == WorkerStatus::LIVE;
  const std::string what = absl::StrCat(live ? ") has to wait: " : ") has nothing to do: ",
                                        membership_.Describe(candidate.partition),
                                        live ? " holds the partition" : " completed it");
  log_.Worker(candidate.partition)
      .Info(absl::StrCat("attempt ", candidate.attempt.stage, ".", candidate.attempt.task, " (", candidate.host,
                         ", pid ", candidate.pid, what));
}

absl::Status Control::CheckRoomForCopies(const SettingsChange& change) const {
  const auto mode = FindSyncMode(change.sync().mode());
  if (!mode.ok() || GoTogether(**mode, change.sync()) || table_.elements() == 0) return absl::OkStatus();
  return CheckTableMemory(job_, {false, PlansCheckpoints(job_)}, table_, ElementsOn(map_, server_));
}

absl::StatusOr<HeartbeatReply> Control::Heartbeat(const HeartbeatRequest& request) {
  if (absl::Status status = CheckJob(request.job()); !status.ok()) return status;
  std::lock_guard lock(mutex_);
  if (absl::Status status = membership_.Heartbeat(request.partition(), request.fence(), request.report(), clock_());
      !status.ok()) {
    return status;
  }
  HeartbeatReply reply;
  for (size_t i = request.known_settings(); i < settings_.changes().size(); ++i) {
    *reply.add_changes() = settings_.changes()[i];
  }
  return reply;
}

absl::Status Control::CheckEverybodyHasCome(const SettingsChange& change) const {
  const auto mode = FindSyncMode(change.sync().mode());
  const Settings& before = settings_.latest();
  if (!mode.ok() || !IsStrong(**mode, change.sync()) || IsStrong(*before.mode, before.sync)) return absl::OkStatus();
  std::vector<uint32_t> absent;
  for (const WorkerStatus& worker : membership_.Status(clock_())) {
    if (worker.state() == WorkerStatus::ABSENT && absent.size() < kMostNamed) absent.push_back(worker.partition());
  }
  if (absent.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("with sync.mode ", std::string((*mode)->name), " all workers have to run at once, and of these "
                   "partitions none has come yet: ", absl::StrJoin(absent, ", ")));
}

absl::Status Control::Change(const ChangeRequest& request) {
  if (absl::Status status = CheckJob(request.job()); !status.ok()) return status;
  const SettingsChange& change = request.change();
  std::lock_guard lock(mutex_);
  if (draining_) return absl::UnavailableError("the server is shutting down");
  const bool again = change.version() <= settings_.latest().version;
  if (absl::Status status = CheckEverybodyHasCome(change); !again && !status.ok()) return status;
  if (absl::Status status = CheckRoomForCopies(change); !again && !status.ok()) return status;
  if (absl::Status status = settings_.Add(change); !status.ok()) return status;
  if (again) return absl::OkStatus();
  // Under the lock, so that all shards see changes in the order of their versions.
  for (Shard* shard : shards_) shard->Post(downpour::ps::Change{change});
  log_.Info(absl::StrCat("settings version ", change.version(), " from clock ", change.from_clock(), ": ",
                         SyncText(change.sync()), ", learning rate ", change.learning_rate()));
  return absl::OkStatus();
}

absl::Status Control::Leave(const LeaveRequest& request) {
  if (absl::Status status = CheckJob(request.job()); !status.ok()) return status;
  std::lock_guard lock(mutex_);
  const bool observer = membership_.IsObserver(request.fence());
  if (absl::Status status = membership_.Leave(request, clock_()); !status.ok()) return status;
  for (Shard* shard : shards_) {
    shard->Post(downpour::ps::Leave{0, request.partition(), request.fence(), request.outcome() == DONE});
  }
  if (observer) return absl::OkStatus();
  log_.Worker(request.partition())
      .Info(absl::StrCat("left: ", Outcome_Name(request.outcome()), request.reason().empty() ? "" : ": ",
                         request.reason().substr(0, 1000)));
  return absl::OkStatus();
}

absl::Status Control::CheckJob(const std::string& name) const {
  if (name == job_.name()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("this server works for job '", job_.name(), "'"));
}

absl::StatusOr<std::shared_ptr<const Directory>> Control::Admit(const FrameHeader& hello) const {
  if (hello.job != JobId(job_.name())) {
    return absl::FailedPreconditionError(absl::StrCat("this server works for job '", job_.name(), "'"));
  }
  std::lock_guard lock(mutex_);
  if (draining_) return absl::UnavailableError("the server is shutting down");
  if (absl::Status status = membership_.Check(hello.worker, hello.fence); !status.ok()) return status;
  if (directory_ == nullptr) return absl::FailedPreconditionError("no worker has described the net yet");
  return directory_;
}

void Control::Tick() {
  std::vector<std::pair<LostWorker, uint64_t>> lost;
  {
    std::lock_guard lock(mutex_);
    for (LostWorker& worker : membership_.Expire(clock_())) {
      const uint64_t ticket = worker.observer ? 0 : reports_.Ask(shards_.size());
      for (Shard* shard : shards_) shard->Post(downpour::ps::Leave{ticket, worker.partition, worker.fence});
      if (!worker.observer) lost.emplace_back(std::move(worker), ticket);
    }
  }
  LogLost(lost);
}

void Control::LogLost(const std::vector<std::pair<LostWorker, uint64_t>>& lost) {
  for (const auto& [worker, ticket] : lost) {
    ++stats_->leases_lost;
    std::string last;
    if (const auto reports = reports_.Wait(ticket, kLogTimeout)) {
      uint64_t sequence = 0;
      for (const Report& report : *reports) {
        if (report.progress) sequence = std::max(sequence, report.progress->sequence);
      }
      last =
          sequence == 0 ? "; it had pushed nothing" : absl::StrCat("; its last push was sequence ", sequence);
    }
    log_.Worker(worker.partition)
        .Warn(absl::StrFormat("%s lost: silent for %.1f s%s", worker.who,
                              static_cast<double>(worker.silent_ms) / 1000, last));
  }
}

void Control::Drain() {
  std::lock_guard lock(mutex_);
  draining_ = true;
}

void Control::Hangup(uint64_t stream) {
  for (Shard* shard : shards_) shard->Post(downpour::ps::Hangup{stream});
}

StatusReply Control::Status() const {
  StatusReply reply;
  reply.set_job(job_.name());
  reply.set_server(server_);
  {
    std::lock_guard lock(mutex_);
    for (WorkerStatus& worker : membership_.Status(clock_())) *reply.add_workers() = std::move(worker);
    reply.mutable_changes()->Assign(settings_.changes().begin(), settings_.changes().end());
  }
  if (checkpointer_ != nullptr) *reply.mutable_checkpoint() = checkpointer_->status();
  std::array<uint64_t, kRefusalCount> refused{};
  for (size_t i = 0; i < kRefusalCount; ++i) refused[i] = stats_->refused[i];
  uint64_t received_bytes = 0;
  uint64_t sent_bytes = 0;
  for (size_t i = 0; i < shards_.size(); ++i) {
    const ShardStats stats = shards_[i]->stats();
    ShardStatus* shard = reply.add_shards();
    shard->set_shard(i);
    shard->set_parts(stats.core.parts);
    shard->set_elements(stats.core.elements);
    shard->set_updates(stats.core.updates);
    shard->set_pushes(stats.core.pushes);
    shard->set_combined(stats.core.combined);
    shard->set_pulls(stats.core.pulls);
    shard->set_staleness_sum(stats.core.staleness_sum);
    for (const uint64_t count : stats.core.staleness) {
      shard->set_staleness_count(shard->staleness_count() + count);
      shard->add_staleness(count);
    }
    shard->mutable_lead()->Assign(stats.core.lead.begin(), stats.core.lead.end());
    shard->set_largest_lead(stats.core.largest_lead);
    shard->set_parked(stats.core.parked);
    for (size_t r = 1; r < kRefusalCount; ++r) {
      refused[r] += stats.core.refused[r];
      if (stats.core.refused[r] != 0) {
        (*shard->mutable_refused())[std::string(RefusalName(static_cast<Refusal>(r)))] =
            stats.core.refused[r];
      }
    }
    received_bytes += stats.core.received_bytes;
    sent_bytes += stats.core.sent_bytes;
  }
  auto& counters = *reply.mutable_counters();
  counters["streams_opened"] = stats_->streams_opened;
  counters["streams_closed"] = stats_->streams_closed;
  counters["streams_refused"] = stats_->streams_refused;
  counters["frames_received"] = stats_->frames_received;
  counters["frames_sent"] = stats_->frames_sent;
  counters["shared_memory_streams_opened"] = stats_->shared_opened;
  counters["shared_memory_received_bytes"] = stats_->shared_received_bytes;
  counters["shared_memory_sent_bytes"] = stats_->shared_sent_bytes;
  counters["registrations"] = stats_->registrations;
  counters["registrations_refused"] = stats_->registrations_refused;
  counters["registrations_turned_away"] = stats_->registrations_turned_away;
  counters["leases_lost"] = stats_->leases_lost;
  counters["payload_received_bytes"] = received_bytes;
  counters["payload_sent_bytes"] = sent_bytes;
  for (size_t r = 1; r < kRefusalCount; ++r) {
    if (refused[r] != 0)
      counters[absl::StrCat("refused_", std::string(RefusalName(static_cast<Refusal>(r))))] = refused[r];
  }
  return reply;
}

}  // namespace downpour::ps
