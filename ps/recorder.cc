#include "ps/recorder.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/job_config.h"

namespace downpour::ps {
namespace {

using std::chrono::duration_cast;
using std::chrono::microseconds;

// About half a millisecond's work.
constexpr uint64_t kMarkedFloats = 256 << 10;

int64_t SteadyUs() {
  return duration_cast<microseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int64_t UnixUs() {
  return duration_cast<microseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Recorder>> Recorder::Start(const std::string& folder, const Job& job, uint32_t server,
                                                          uint32_t shard, Log log) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return absl::UnavailableError(absl::StrCat("can't make the folder ", folder, ": ", error.message()));
  const EventLogHeader header{.job = JobToYaml(job),
                              .server = server,
                              .servers = static_cast<uint32_t>(job.servers().addresses_size()),
                              .shard = shard,
                              .shards = job.servers().shards(),
                              .unix_us = UnixUs(),
                              .steady_us = SteadyUs()};
  auto writer = EventLogWriter::Create(absl::StrCat(folder, "/", EventLogName(server, shard)), header);
  if (!writer.ok()) return writer.status();
  return std::unique_ptr<Recorder>(new Recorder(*std::move(writer), std::move(log)));
}

void Recorder::Before(const Event& event) {
  if (writer_ == nullptr) return;
  if (const auto* create = std::get_if<CreateTable>(&event)) tables_.insert(create->table);
  ticked_ = std::holds_alternative<Tick>(event);
  Keep(writer_->Append(event, SteadyUs()));
}

void Recorder::After(const ShardCore& core) {
  if (writer_ == nullptr || !ticked_) return;
  if (const Mark mark = MakeMark(core, false, kMarkedFloats); !mark.parts.empty()) {
    Keep(writer_->Append(mark, SteadyUs()));
  }
  if (writer_ != nullptr) Keep(writer_->Flush());
}

void Recorder::Ended(const ShardCore& core) {
  if (writer_ == nullptr) return;
  Keep(writer_->Append(MakeMark(core, true, 0), SteadyUs()));
  if (writer_ != nullptr) Keep(writer_->Flush());
  writer_ = nullptr;
}

Mark Recorder::MakeMark(const ShardCore& core, bool last, uint64_t budget) {
  struct Place {
    PartKey key;
    const Table* table;
    const Table::Part* part;
  };
  std::vector<Place> places;
  for (const uint32_t id : tables_) {
    const Table* const table = core.table(id);
    if (table == nullptr) continue;
    for (const Table::Part& part : table->parts()) places.push_back({{id, part.index}, table, &part});
  }
  if (!last) {
    std::erase_if(places, [this](const Place& place) {
      const auto found = marked_.find(place.key);
      return !place.part->set || (found != marked_.end() && found->second == place.part->version);
    });
    // In turn: first those after the one that was marked last.
    std::stable_partition(places.begin(), places.end(),
                          [this](const Place& place) { return place.key > last_marked_; });
  }
  Mark mark{last, {}};
  uint64_t floats = 0;
  for (const auto& [key, table, part] : places) {
    if (!last && floats >= budget) break;
    floats += part->values.size() * (1 + part->slots.size());
    mark.parts.push_back({key.first, key.second, part->version, table->Checksum(*part)});
    marked_[key] = part->version;
    last_marked_ = key;
  }
  return mark;
}

void Recorder::Keep(const absl::Status& status) {
  if (status.ok()) return;
  log_.Error(absl::StrCat("the recording breaks off here, the training goes on: ", status.message()));
  writer_ = nullptr;
}

}  // namespace downpour::ps
