// The server's half of the modes in which nobody waits for another worker.
#pragma once

#include "proto/sync/mode.h"

namespace downpour::weak {

inline PushDecision OnPush(const Sync&, const PartView&, const PushView&) { return {PushAction::kApply}; }
inline bool Closes(const Sync&, const PartView&) { return false; }
inline uint64_t ReadClock(const PartView&) { return kAnyClock; }
inline uint64_t EntryClock(const PartView&) { return 0; }

}  // namespace downpour::weak
