#include "tools/ps_ctl/plan.h"

#include <algorithm>

#include <google/protobuf/util/message_differencer.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "proto/job_config.h"
#include "proto/settings.h"

namespace downpour::ctl {
namespace {

using google::protobuf::util::MessageDifferencer;

}  // namespace

absl::StatusOr<SettingsChange> PlanChange(const Job& job, const std::vector<StatusReply>& servers,
                                          const std::vector<std::string>& set, std::optional<uint64_t> at_clock) {
  const auto known = KnownChanges(servers);
  if (!known.ok()) return known.status();
  const Job before = WithChanges(job, *known);

  const auto after = WithKeys(before, set);
  if (!after.ok()) return after.status();

  Job same = before;
  *same.mutable_sync() = after->sync();
  same.mutable_optimizer()->set_learning_rate(after->optimizer().learning_rate());
  if (!MessageDifferencer::Equals(same, *after)) {
    return absl::InvalidArgumentError(absl::StrCat("only sync.* and optimizer.learning_rate can change while a job runs, not ",
                                                   Differences(same, *after)));
  }
  if (MessageDifferencer::Equals(before, *after)) {
    return absl::FailedPreconditionError("these are the settings already");
  }
  auto history = SettingsHistory::Create(job);
  if (!history.ok()) return history.status();
  for (const SettingsChange& change : *known) {
    if (absl::Status status = history->Add(change); !status.ok()) return status;
  }
  SettingsChange change;
  change.set_version(static_cast<uint32_t>(known->size()) + 1);
  change.set_from_clock(
      std::max(at_clock.value_or(ClockAhead(before, servers)), at_clock ? 0 : history->latest().from_clock));
  *change.mutable_sync() = after->sync();
  change.set_learning_rate(after->optimizer().learning_rate());
  if (absl::Status status = history->Check(change); !status.ok()) return status;
  if (const auto end = EndClock(before, servers); end && change.from_clock() >= *end) {
    return absl::InvalidArgumentError(
        absl::StrCat("the job is done at clock ", *end, "; a change from clock ", change.from_clock(),
                     " on would never count"));
  }
  if (change.sync().mode() != before.sync().mode() && change.from_clock() <= FurthestClock(before, servers)) {
    return absl::InvalidArgumentError(absl::StrCat("a worker is at clock ", FurthestClock(before, servers),
                                                   " already; another mode has to begin after that, not at ",
                                                   change.from_clock()));
  }
  return change;
}

std::string Differences(const Job& before, const Job& after) {
  std::string report;
  MessageDifferencer differencer;
  differencer.ReportDifferencesToString(&report);
  differencer.Compare(before, after);
  // "modified: sync.n_push: 5 -> 10"; keys that come and go with a mode are of no news.
  std::vector<std::string> lines;
  for (absl::string_view line : absl::StrSplit(report, '\n', absl::SkipEmpty())) {
    if (absl::ConsumePrefix(&line, "modified: ")) lines.emplace_back(line);
  }
  return absl::StrJoin(lines, ", ");
}

}  // namespace downpour::ctl
