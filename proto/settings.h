// The settings of a job that can change while it runs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/job.pb.h"
#include "proto/service.pb.h"
#include "proto/sync/mode.h"

namespace downpour {

struct Settings {
  uint32_t version = 0;     // 0 are the job file's
  uint64_t from_clock = 0;  // of pushes: those of this clock and later go by it
  Sync sync;
  const SyncMode* mode = nullptr;
  float learning_rate = 0;  // the base rate, before the schedule
};

// For people: "mode ssp, s 2".
std::string SyncText(const Sync& sync);

// Whether pushes under these settings are for rounds.
inline bool InRounds(const Settings& settings) { return IsStrong(*settings.mode, settings.sync); }

// Whether workers under these settings read each version, and all the same: none goes on without the others.
inline bool GoTogether(const SyncMode& mode, const Sync& sync) {
  return IsStrong(mode, sync) && sync.backup_workers() == 0;
}
inline bool GoTogether(const Settings& settings) { return GoTogether(*settings.mode, settings.sync); }

// Every version there was. A value; whoever owns one guards it.
class SettingsHistory {
 public:
  // InvalidArgument for a sync mode that does not exist.
  static absl::StatusOr<SettingsHistory> Create(const Job& job);

  // What `change` would do here: OK where Add would take it. Aborted: another change has its version, or it is not the
  // next one. InvalidArgument: it begins before the one before, or a value is out of its bounds. FailedPrecondition:
  // between these two modes there is no changing while a job runs.
  absl::Status Check(const SettingsChange& change) const;
  // Takes a change; the same one again changes nothing.
  absl::Status Add(const SettingsChange& change);

  const Settings& At(uint64_t clock) const;
  // Null for one that is not here.
  const Settings* Version(uint32_t version) const;
  // Whether under any of them workers wait for one another.
  bool AnyWaitsForWorkers() const;
  const Settings& latest() const { return versions_.back(); }
  // All but the job's.
  const std::vector<SettingsChange>& changes() const { return changes_; }

 private:
  uint32_t workers_ = 0;
  std::vector<Settings> versions_;
  std::vector<SettingsChange> changes_;
};

}  // namespace downpour
