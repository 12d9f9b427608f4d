// The server's half of the modes in which all workers push before a part's clock closes.
#pragma once

#include "proto/sync/mode.h"

namespace downpour::rounds {

inline PushDecision OnPush(const Sync&, const PartView& view, const PushView& push) {
  if (push.clock < view.clock) return {PushAction::kRefuse, Refusal::kClockClosed};
  if (push.clock > view.clock) return {PushAction::kRefuse, Refusal::kClockAhead};
  return {PushAction::kHold};
}

// Whether everybody who is there or is to come has pushed, or at least enough of them: `backups` may be missing.
inline bool ClosesWithout(uint32_t backups, const PartView& view) {
  if (view.held == 0) return false;
  if (backups > 0 && view.held + uint64_t{backups} >= view.members.size()) return true;
  for (const MemberView& member : view.members) {
    if (member.membership != Membership::kGone && member.clock <= view.clock) return false;
  }
  return true;
}

inline bool Closes(const Sync&, const PartView& view) { return ClosesWithout(0, view); }
inline uint64_t ReadClock(const PartView& view) { return view.clock; }
inline uint64_t EntryClock(const PartView& view) { return view.clock; }

}  // namespace downpour::rounds
