// The server's half of the modes in which all workers push before a part's clock closes.
#pragma once

#include "proto/sync/mode.h"

namespace downpour::rounds {

inline PushDecision OnPush(const Sync&, const PartView& view, const PushView& push) {
  if (push.clock < view.clock) return {PushAction::kRefuse, Refusal::kClockClosed};
  if (push.clock > view.clock) return {PushAction::kRefuse, Refusal::kClockAhead};
  return {PushAction::kHold};
}

// Whether everybody who is there or is to come has pushed, or at least enough of them: `backups` may be missing. Nothing
// need be held: what one has pushed may be a duplicate, which counts for the clock alone.
inline bool ClosesWithout(uint32_t backups, const PartView& view) {
  if (backups > 0 && view.held > 0 && view.held + uint64_t{backups} >= view.members.size()) return true;
  bool pushed = view.held > 0;
  for (const MemberView& member : view.members) {
    if (member.membership == Membership::kGone) continue;
    if (member.clock <= view.clock) return false;
    pushed = true;
  }
  return pushed;
}

inline bool Closes(const Sync&, const PartView& view) { return ClosesWithout(0, view); }
inline uint64_t ReadClock(const PartView& view) { return view.clock; }
inline uint64_t EntryClock(const PartView& view) { return view.clock; }

}  // namespace downpour::rounds
