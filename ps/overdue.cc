#include "ps/overdue.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace downpour::ps {
namespace {

constexpr size_t kMostNamed = 20;

template <typename Predicate>
std::string Named(const Leases& leases, const PartView& view, Predicate belongs) {
  std::vector<std::string> names;
  for (uint32_t i = 0; i < leases.partitions(); ++i) {
    if (!belongs(i)) continue;
    if (names.size() == kMostNamed) {
      names.push_back("more");
      break;
    }
    const bool absent = leases.Of(i) == Leases::State::kAbsent;
    names.push_back(absent ? absl::StrCat(i) : absl::StrCat(i, " (clock ", view.members[i].clock, ")"));
  }
  return absl::StrJoin(names, ", ");
}

}  // namespace

std::optional<Overdue> WhyOverdue(const Settings& settings, const Leases& leases, const WaitedFor& part,
                                  const Waiting& waiting, int64_t now_ms) {
  const PartView& view = part.view;
  // Without rounds nobody waits for who has not come, but for the one who goes first.
  const bool for_first = !part.warm && leases.Of(0) == Leases::State::kAbsent;
  if (for_first || (InRounds(settings) && leases.absent() > 0)) {
    const int64_t join_ms = settings.sync.join_timeout_ms();
    const int64_t first_ms = leases.first_join_ms();
    if (join_ms == 0 || first_ms < 0 || now_ms - std::max(first_ms, waiting.since_ms) < join_ms) return std::nullopt;
    const std::string missing = Named(leases, view, [&](uint32_t i) {
      return leases.Of(i) == Leases::State::kAbsent && (!for_first || i == 0);
    });
    return Overdue{Refusal::kNoMembers,
                   absl::StrCat("after ", join_ms, " ms these of the job's ", leases.partitions(),
                                " partitions have no worker yet: ", missing)};
  }
  const int64_t read_ms = settings.sync.read_timeout_ms();
  if (read_ms == 0 || !part.set || !part.warm || now_ms - waiting.since_ms < read_ms) return std::nullopt;
  const std::string slow = Named(leases, view, [&](uint32_t i) {
    return view.members[i].membership == Membership::kLive && i != waiting.worker &&
           view.members[i].clock <= std::max(view.clock, waiting.clock);
  });
  return Overdue{Refusal::kReadTimeout,
                 absl::StrCat("waited ", read_ms, " ms for clock ", waiting.clock, ", behind which are partitions ", slow,
                              "; sync.read_timeout_ms says how long to wait")};
}

}  // namespace downpour::ps
