#include "proto/settings.h"

#include <google/protobuf/text_format.h>
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "proto/job_config.h"

namespace downpour {
namespace {

constexpr size_t kMostChanges = 10000;
// A clock that no job comes to; beyond it a change would only be in the way of those after it.
constexpr uint64_t kMostClock = uint64_t{1} << 40;

bool Same(const SettingsChange& a, const SettingsChange& b) {
  return google::protobuf::util::MessageDifferencer::Equals(a, b);
}

}  // namespace

std::string SyncText(const Sync& sync) {
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  sync.GetReflection()->ListFields(sync, &fields);
  std::string text;
  for (const auto* field : fields) {
    std::string value;
    google::protobuf::TextFormat::PrintFieldValueToString(sync, field, -1, &value);
    absl::StrAppend(&text, text.empty() ? "" : ", ", field->name(), " ",
                    absl::StripPrefix(absl::StripSuffix(value, "\""), "\""));
  }
  return text;
}

absl::StatusOr<SettingsHistory> SettingsHistory::Create(const Job& job) {
  const auto mode = FindSyncMode(job.sync().mode());
  if (!mode.ok()) return mode.status();
  SettingsHistory history;
  history.workers_ = job.workers();
  history.versions_.push_back({0, 0, job.sync(), *mode, job.optimizer().learning_rate()});
  return history;
}

absl::Status SettingsHistory::Check(const SettingsChange& change) const {
  if (change.version() == 0 || change.version() > latest().version + 1) {
    return absl::AbortedError(
        absl::StrCat("the next version of the settings is ", latest().version + 1, ", not ", change.version()));
  }
  if (change.version() <= latest().version) {
    if (Same(change, changes_[change.version() - 1])) return absl::OkStatus();
    return absl::AbortedError(absl::StrCat("another change already has version ", change.version()));
  }
  if (changes_.size() >= kMostChanges) {
    return absl::FailedPreconditionError(absl::StrCat("there were ", kMostChanges, " changes already"));
  }
  if (change.from_clock() < latest().from_clock) {
    return absl::InvalidArgumentError(absl::StrCat("clock ", change.from_clock(), " is before ", latest().from_clock,
                                                   ", from which the last change counts"));
  }
  if (change.from_clock() > kMostClock) {
    return absl::InvalidArgumentError(absl::StrCat("clock ", change.from_clock(), " is beyond what any job comes to"));
  }
  if (!std::isfinite(change.learning_rate()) || change.learning_rate() < 0) {
    return absl::InvalidArgumentError("the learning rate should be a number, not negative");
  }
  if (absl::Status status = CheckSync(change.sync(), workers_, change.learning_rate()); !status.ok()) return status;
  if (change.sync().warmup_steps() != latest().sync.warmup_steps()) {
    return absl::FailedPreconditionError("sync.warmup_steps can't change while a job runs");
  }
  const auto mode = FindSyncMode(change.sync().mode());
  if (!mode.ok()) return mode.status();
  const Settings& before = latest();
  if (*mode == before.mode) {
    if ((*mode)->content == PushContent::kGradient) return absl::OkStatus();
    // What the clocks count, and what the table holds, is fixed by these.
    const bool same = before.sync.tau() == change.sync().tau() && before.sync.state() == change.sync().state() &&
                      before.sync.rounds() == change.sync().rounds();
    return same ? absl::OkStatus()
                : absl::FailedPreconditionError("sync.tau, sync.state and sync.rounds can't change while a job runs");
  }
  for (const SyncMode* either : {before.mode, *mode}) {
    if (either->content != PushContent::kGradient || either->peers) {
      return absl::FailedPreconditionError(
          absl::StrCat("a running job can't change from sync.mode ", before.mode->name, " to ", (*mode)->name,
                       ": it can between the modes that exchange gradients with servers"));
    }
  }
  return absl::OkStatus();
}

absl::Status SettingsHistory::Add(const SettingsChange& change) {
  if (absl::Status status = Check(change); !status.ok()) return status;
  if (change.version() <= latest().version) return absl::OkStatus();
  versions_.push_back({change.version(), change.from_clock(), change.sync(), *FindSyncMode(change.sync().mode()),
                       change.learning_rate()});
  changes_.push_back(change);
  return absl::OkStatus();
}

const Settings& SettingsHistory::At(uint64_t clock) const {
  size_t i = versions_.size() - 1;
  while (i > 0 && versions_[i].from_clock > clock) --i;
  return versions_[i];
}

bool SettingsHistory::AnyWaitsForWorkers() const {
  return std::any_of(versions_.begin(), versions_.end(), [](const Settings& settings) {
    return settings.mode->coupling(settings.sync) != Coupling::kNone;
  });
}

const Settings* SettingsHistory::Version(uint32_t version) const {
  return version < versions_.size() ? &versions_[version] : nullptr;
}

}  // namespace downpour
