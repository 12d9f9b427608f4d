#include "ps/replay.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/hyper.h"
#include "proto/job_config.h"
#include "ps/shard_core.h"

namespace downpour::ps {
namespace {

using PartKey = std::pair<uint32_t, uint32_t>;  // table, part
using FrameKey = std::array<uint64_t, 5>;       // of a push: what its ack says too

// What is known of a part besides what its table knows.
struct Tally {
  std::map<uint32_t, uint64_t> pushes;  // by worker
  std::array<uint64_t, kRefusalCount> refused{};
  uint64_t marks = 0;
  uint64_t same_after = 0;
  bool compared_to_the_end = false;
  std::optional<ReplayedPart::Difference> difference;
};

// One log, dealt to the cores of its parts' new owners.
class LogReplay {
 public:
  static absl::StatusOr<std::unique_ptr<LogReplay>> Create(const Recording& recording, size_t log,
                                                           const ReplayOptions& options) {
    const auto rule = ServerRule(recording.job);
    if (!rule.ok()) return rule.status();
    auto reader = EventLogReader::Open(recording.logs[log]);
    if (!reader.ok()) return reader.status();
    std::unique_ptr<LogReplay> replay(new LogReplay(recording.job, options, *std::move(reader)));
    if (*rule != nullptr) replay->floats_an_element_ += (*rule)->slots;
    replay->until_ = options.until.empty() ? ~uint64_t{0} : options.until[log];
    replay->cores_.resize(size_t{options.servers} * options.shards);
    for (uint32_t server = 0; server < options.servers; ++server) {
      if (options.only_server && *options.only_server != server) continue;
      for (uint32_t shard = 0; shard < options.shards; ++shard) {
        auto core = ShardCore::Create(recording.job);
        if (!core.ok()) return core.status();
        replay->cores_[server * options.shards + shard] = *std::move(core);
      }
    }
    return replay;
  }

  absl::Status Run() {
    const EventLogHeader& header = reader_->header();
    result_.set_server(header.server);
    result_.set_shard(header.shard);
    for (;;) {
      auto record = reader_->Next();
      if (absl::IsOutOfRange(record.status())) {
        result_.set_broken_off(std::string(record.status().message()));
        return absl::OkStatus();
      }
      if (!record.ok()) return record.status();
      if (!*record) {
        if (!result_.complete() && result_.broken_off().empty()) {
          result_.set_broken_off(absl::StrCat(reader_->path(), " has no end: its server was killed"));
        }
        return absl::OkStatus();
      }
      if ((*record)->number > until_) {
        result_.set_broken_off(absl::StrCat("told to stop after event ", until_));
        return absl::OkStatus();
      }
      if (absl::Status status = Handle(**std::move(record)); !status.ok()) return status;
    }
  }

  void Report(Replayed* out) {
    *out->add_logs() = result_;
    for (size_t owner = 0; owner < cores_.size(); ++owner) {
      if (cores_[owner] == nullptr) continue;
      for (const uint32_t id : tables_) {
        const Table* const table = cores_[owner]->table(id);
        if (table == nullptr) continue;
        for (const Table::Part& part : table->parts()) Report(*table, part, owner, out->add_parts());
      }
    }
  }

 private:
  LogReplay(const Job& job, const ReplayOptions& options, std::unique_ptr<EventLogReader> reader)
      : job_(job), servers_(options.servers), shards_(options.shards), reader_(std::move(reader)) {}

  absl::Status Handle(LogRecord record) {
    if (auto* mark = std::get_if<Mark>(&record.entry)) {
      Compare(*mark, record);
      return absl::OkStatus();
    }
    if (auto* end = std::get_if<BrokenOff>(&record.entry)) {
      result_.set_broken_off(absl::StrCat(reader_->path(), " was broken off: ", end->reason));
      return absl::OkStatus();
    }
    const int64_t now_us = UnixUs(reader_->header(), record);
    if (result_.events() == 0) result_.set_begin_us(now_us);
    result_.set_end_us(now_us);
    result_.set_events(result_.events() + 1);
    std::visit([this](auto&& event) { Deal(std::move(event)); }, std::get<Event>(std::move(record.entry)));
    return failure_;
  }

  size_t OwnerOf(uint32_t part) const { return part % servers_ * shards_ + part / servers_ % shards_; }

  // By kind: one that is new does not compile before it is said whom it concerns.
  void Deal(CreateTable event) {
    tables_.insert(event.table);
    uint64_t elements = 0;
    for (const PartRange& part : event.parts) elements += part.end - part.begin;
    if (elements > job_.servers().memory_limit_bytes() / sizeof(float) / floats_an_element_) {
      failure_ = absl::ResourceExhaustedError(absl::StrCat(reader_->path(), ": a table of ", elements,
                                                           " parameters; servers.memory_limit_bytes is ",
                                                           job_.servers().memory_limit_bytes()));
      return;
    }
    for (size_t owner = 0; owner < cores_.size(); ++owner) {
      if (cores_[owner] == nullptr) continue;
      CreateTable share = event;
      std::erase_if(share.parts, [&](const PartRange& part) { return OwnerOf(part.part) != owner; });
      for (const PartRange& part : share.parts) tallies_[{event.table, part.part}];
      Give(owner, std::move(share));
    }
  }
  void Deal(Join event) { GiveAll(event); }
  void Deal(Leave event) { GiveAll(event); }
  void Deal(Hangup event) { GiveAll(event); }
  void Deal(Change event) { GiveAll(event); }
  void Deal(Tick event) { GiveAll(event); }
  void Deal(Drain event) { GiveAll(event); }
  void Deal(Checkpoint event) { GiveAll(event); }
  void Deal(Restore event) {
    const size_t owner = OwnerOf(event.state.part);
    Give(owner, std::move(event));
  }
  void Deal(Set event) { GiveOwner(event.message.header, std::move(event)); }
  void Deal(Push event) {
    if (!event.message.contributors.empty() && cores_[OwnerOf(event.message.header.part)] != nullptr) {
      std::vector<uint32_t>& workers = combined_[KeyOf(event.message.header)];
      workers.clear();
      ForEachContribution(event.message, [&](const FrameHeader& one) { workers.push_back(one.worker); });
    }
    GiveOwner(event.message.header, std::move(event));
  }
  void Deal(Pull event) { GiveOwner(event.header, std::move(event)); }

  static FrameKey KeyOf(const FrameHeader& push) {
    return {push.table, push.part, push.worker, push.sequence, push.position};
  }

  template <typename E>
  void GiveAll(const E& event) {
    for (size_t owner = 0; owner < cores_.size(); ++owner) Give(owner, event);
  }

  template <typename E>
  void GiveOwner(const FrameHeader& header, E&& event) {
    const size_t owner = OwnerOf(header.part);
    Give(owner, std::move(event));
  }

  template <typename E>
  void Give(size_t owner, E event) {
    if (cores_[owner] == nullptr) return;
    cores_[owner]->Handle(std::move(event), actions_);
    for (const Action& action : actions_) {
      if (const auto* created = std::get_if<Created>(&action); created != nullptr && !created->ok) {
        failure_ = absl::ResourceExhaustedError("there is no memory left for the parameters");
      }
      const auto* reply = std::get_if<Reply>(&action);
      if (reply == nullptr) continue;
      const FrameHeader& header = reply->message.header;
      const auto tally = tallies_.find({header.table, header.part});
      if (tally == tallies_.end()) continue;
      const bool push = header.kind == FrameKind::kAck && !std::is_same_v<E, Set>;
      const auto combined = push ? combined_.find(KeyOf(header)) : combined_.end();
      if (header.reason != Refusal::kNone) {
        ++tally->second.refused[static_cast<size_t>(header.reason)];
      } else if (combined != combined_.end()) {
        for (const uint32_t worker : combined->second) ++tally->second.pushes[worker];
      } else if (push) {
        ++tally->second.pushes[header.worker];
      }
      if (combined != combined_.end()) combined_.erase(combined);
    }
    actions_.clear();
  }

  const Table::Part* Find(const Table& table, uint32_t index) const {
    const auto& parts = table.parts();
    const auto found = std::lower_bound(parts.begin(), parts.end(), index,
                                        [](const Table::Part& part, uint32_t i) { return part.index < i; });
    return found == parts.end() || found->index != index ? nullptr : &*found;
  }

  void Compare(const Mark& mark, const LogRecord& record) {
    if (mark.last) result_.set_complete(true);
    for (const PartMark& then : mark.parts) {
      if (mark.last) result_.set_checksum(result_.checksum() + then.checksum);
      const ShardCore* const core = cores_[OwnerOf(then.part)].get();
      const auto found = tallies_.find({then.table, then.part});
      if (core == nullptr || found == tallies_.end()) continue;
      const Table* const table = core->table(then.table);
      const Table::Part* const part = table == nullptr ? nullptr : Find(*table, then.part);
      if (part == nullptr) continue;
      Tally& tally = found->second;
      ++tally.marks;
      tally.compared_to_the_end = mark.last;
      if (tally.difference) continue;
      if (part->version == then.version && table->Checksum(*part) == then.checksum) {
        tally.same_after = record.number - 1;
        continue;
      }
      auto& difference = tally.difference.emplace();
      difference.set_same_after(tally.same_after);
      difference.set_differs_after(record.number - 1);
      difference.set_unix_us(UnixUs(reader_->header(), record));
      difference.set_recorded_updates(then.version);
      difference.set_replayed_updates(part->version);
    }
  }

  void Report(const Table& table, const Table::Part& part, size_t owner, ReplayedPart* out) const {
    const Tally& tally = tallies_.at({table.id(), part.index});
    out->set_table(table.id());
    out->set_part(part.index);
    out->set_begin(part.begin);
    out->set_recorded_server(result_.server());
    out->set_recorded_shard(result_.shard());
    out->set_server(static_cast<uint32_t>(owner / shards_));
    out->set_shard(static_cast<uint32_t>(owner % shards_));
    out->set_set(part.set);
    out->set_updates(part.version);
    for (const auto& [worker, count] : tally.pushes) (*out->mutable_pushes())[worker] = count;
    for (size_t i = 0; i < tally.refused.size(); ++i) {
      if (tally.refused[i] == 0) continue;
      (*out->mutable_refused())[std::string(RefusalName(static_cast<Refusal>(i)))] = tally.refused[i];
    }
    out->set_checksum(table.Checksum(part));
    out->mutable_values()->Add(part.values.begin(), part.values.end());
    out->set_marks(tally.marks);
    out->set_compared_to_the_end(tally.compared_to_the_end);
    if (tally.difference) *out->mutable_difference() = *tally.difference;
  }

  // Constant after creation.
  const Job& job_;
  const uint32_t servers_;
  const uint32_t shards_;
  const std::unique_ptr<EventLogReader> reader_;
  uint64_t floats_an_element_ = 1;
  uint64_t until_ = 0;

  std::vector<std::unique_ptr<ShardCore>> cores_;  // by new owner; null where it is another process's
  std::vector<Action> actions_;
  std::set<uint32_t> tables_;
  std::map<PartKey, Tally> tallies_;
  std::map<FrameKey, std::vector<uint32_t>> combined_;  // who is in pushes that have no answer yet
  absl::Status failure_;
  ReplayedLog result_;
};

absl::StatusOr<Replayed> ReplayLog(const Recording& recording, size_t log, const ReplayOptions& options) {
  auto replay = LogReplay::Create(recording, log, options);
  if (!replay.ok()) return replay.status();
  if (absl::Status status = (*replay)->Run(); !status.ok()) return status;
  Replayed replayed;
  (*replay)->Report(&replayed);
  return replayed;
}

}  // namespace

int64_t UnixUs(const EventLogHeader& header, const LogRecord& record) {
  // Of a damaged file's making they may be anything.
  return static_cast<int64_t>(static_cast<uint64_t>(header.unix_us) + static_cast<uint64_t>(record.time_us) -
                              static_cast<uint64_t>(header.steady_us));
}

absl::StatusOr<Recording> OpenRecording(const std::string& folder) {
  std::error_code error;
  std::set<std::string> names;
  for (std::filesystem::directory_iterator i(folder, error), end; !error && i != end; i.increment(error)) {
    if (i->path().extension() == ".events") names.insert(i->path().filename());
  }
  if (error) return absl::NotFoundError(absl::StrCat("can't look into ", folder, ": ", error.message()));
  if (names.empty()) {
    return absl::NotFoundError(absl::StrCat(folder, " has no recording: no file in it ends with .events; ",
                                            "`ps-run --record` makes one"));
  }
  const auto path = [&](const std::string& name) -> std::string { return std::filesystem::path(folder) / name; };

  auto first = EventLogReader::Open(path(*names.begin()));
  if (!first.ok()) return first.status();
  const EventLogHeader header = (*first)->header();
  auto job = ParseJob(header.job, absl::StrCat("the job in ", (*first)->path()));
  if (!job.ok()) return job.status();
  Recording recording{*std::move(job), header.servers, header.shards, {}};
  for (uint64_t i = 0; i < uint64_t{header.servers} * header.shards; ++i) {
    const auto server = static_cast<uint32_t>(i / header.shards);
    const auto shard = static_cast<uint32_t>(i % header.shards);
    const std::string name = EventLogName(server, shard);
    if (names.erase(name) == 0) {
      return absl::NotFoundError(absl::StrCat(path(name), " is missing: the run had ", header.servers, " servers of ",
                                              header.shards, " shards"));
    }
    auto reader = EventLogReader::Open(path(name));
    if (!reader.ok()) return reader.status();
    const EventLogHeader& own = (*reader)->header();
    if (own.server != server || own.shard != shard || own.servers != header.servers || own.shards != header.shards) {
      return absl::InvalidArgumentError(absl::StrCat(path(name), " is of shard ", own.shard, " of ", own.shards,
                                                     " on server ", own.server, " of ", own.servers,
                                                     ", which does not go with its name and the other logs"));
    }
    if (own.job != header.job) {
      const auto other = ParseJob(own.job, absl::StrCat("the job in ", path(name)));
      if (!other.ok()) return other.status();
      if (other->name() != recording.job.name() || !CheckAgreement(recording.job, *other).ok()) {
        return absl::FailedPreconditionError(absl::StrCat(path(name), " is of another job than ", (*first)->path()));
      }
    }
    recording.logs.push_back(path(name));
  }
  if (!names.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path(*names.begin()), " does not belong to this recording, of ",
                                                   header.servers, " servers of ", header.shards, " shards"));
  }
  return recording;
}

absl::StatusOr<Replayed> Replay(const Recording& recording, const ReplayOptions& options) {
  const size_t logs = recording.logs.size();
  if (options.servers == 0 || options.shards == 0 || (!options.until.empty() && options.until.size() != logs)) {
    return absl::InvalidArgumentError("a replay needs at least one server, one shard, and an end for each log");
  }
  std::vector<absl::StatusOr<Replayed>> results(logs, absl::UnknownError("not replayed"));
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i = next++; i < logs; i = next++) results[i] = ReplayLog(recording, i, options);
  };
  std::vector<std::thread> helpers;
  for (size_t i = 1; i < std::min<size_t>(options.threads, logs); ++i) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();

  Replayed all;
  for (absl::StatusOr<Replayed>& result : results) {
    if (!result.ok()) return result.status();
    all.MergeFrom(*result);
    result = Replayed();
  }
  auto& parts = *all.mutable_parts();
  std::sort(parts.pointer_begin(), parts.pointer_end(), [](const ReplayedPart* a, const ReplayedPart* b) {
    return PartKey(a->table(), a->part()) < PartKey(b->table(), b->part());
  });
  for (int i = 1; i < parts.size(); ++i) {
    if (parts[i].table() == parts[i - 1].table() && parts[i].part() == parts[i - 1].part()) {
      return absl::InvalidArgumentError(absl::StrCat("two logs of the recording have part ", parts[i].part(),
                                                     " of table ", parts[i].table()));
    }
  }
  return all;
}

}  // namespace downpour::ps
