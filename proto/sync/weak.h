// The server's half of the modes in which nobody waits for another worker.
#pragma once

#include "proto/sync/mode.h"

namespace downpour::weak {

inline PushDecision OnPush(const PartView&, const PushView&) { return {PushAction::kApply}; }
inline bool Closes(const PartView&) { return false; }
inline ReadAction MayRead(const PartView&, uint64_t) { return ReadAction::kNow; }

}  // namespace downpour::weak
