// Writes all that a shard handles to a file, as it handles it, so that replay.h can handle it again.
//
// A recording must not disturb what it records: it costs the shard a checksum and a copy of each gradient,
// and, at each tick, the checksum of some parts, in turn, so that a replay can tell where it first differs. What can't
// be written ends the recording, never the training. The file is flushed at each tick: a server that is killed
// loses the last tenth of a second of it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "proto/job.pb.h"
#include "ps/event_log.h"
#include "ps/log.h"
#include "ps/shard.h"

namespace downpour::ps {

class Recorder final : public Shard::Observer {
 public:
  // Begins `folder`/server-I-shard-J.events; makes the folder where there is none. Unavailable, with path and reason,
  // where that can't be done; AlreadyExists where there is such a file.
  static absl::StatusOr<std::unique_ptr<Recorder>> Start(const std::string& folder, const Job& job, uint32_t server,
                                                         uint32_t shard, Log log);

  void Before(const Event& event) override;
  void After(const ShardCore& core) override;
  void Ended(const ShardCore& core) override;

 private:
  using PartKey = std::pair<uint32_t, uint32_t>;  // table, part

  Recorder(std::unique_ptr<EventLogWriter> writer, Log log) : writer_(std::move(writer)), log_(std::move(log)) {}

  // Of parts that have changed since they were last marked, beginning after the last one marked, as many as
  // `budget` floats; of all parts where it is the last.
  Mark MakeMark(const ShardCore& core, bool last, uint64_t budget);
  void Keep(const absl::Status& status);

  std::unique_ptr<EventLogWriter> writer_;  // null once the recording has ended
  const Log log_;
  bool ticked_ = false;
  std::set<uint32_t> tables_;
  std::map<PartKey, uint64_t> marked_;  // the version at which a part was last marked
  PartKey last_marked_;
};

}  // namespace downpour::ps
