// A sync mode: how workers' gradients are combined. It has two halves, the server's and the worker's, and both are
// pure functions: a snapshot in, a decision out. Nothing else in the system knows a mode's name.
//
// A new mode is one file beside this one and one line in table.cc.
#pragma once

#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/frame.h"
#include "proto/job.pb.h"

namespace downpour {

// ---- The server's half: decisions about one part.

enum class Membership : uint8_t {
  kAbsent,  // has not come yet
  kLive,    // holds a lease
  kGone,    // finished, failed or lost
};

struct MemberView {
  Membership membership = Membership::kAbsent;
  uint64_t clock = 0;  // clocks that this worker has pushed: the next one it owes
};

// One part, as the policy sees it. A clock is one round of pushes, or in weak modes one push's step.
struct PartView {
  uint64_t clock = 0;  // clocks closed
  uint32_t held = 0;   // pushes that wait for the clock to close
  std::span<const MemberView> members;  // by partition; one for each of the job's workers
};

struct PushView {
  uint32_t worker = 0;
  uint64_t clock = 0;
};

enum class PushAction : uint8_t { kApply, kHold, kRefuse };

struct PushDecision {
  PushAction action = PushAction::kApply;
  Refusal reason = Refusal::kNone;  // with kRefuse

  friend bool operator==(const PushDecision&, const PushDecision&) = default;
};

enum class ReadAction : uint8_t {
  kNow,
  kWhenClosed,  // as soon as the part's clock has reached the one asked for
};

// ---- The worker's half: what to do at one step.

struct WorkerView {
  uint64_t step = 0;             // steps completed by this attempt's partition
  uint64_t first_step = 0;       // the step at which this attempt began
  bool fetch_in_flight = false;  // a fetch was started and has not been installed
};

struct StepPlan {
  bool fetch = false;            // start fetching
  uint64_t fetch_clock = 0;      // the least clock that the fetch must see
  bool wait_for_fetch = false;   // before computing
  bool local_step = false;       // apply the gradient to the worker's copy
  bool push = false;             // push what has accrued, this step's gradient included
  uint32_t pushes_in_flight = 0; // after pushing, wait until no more than this many are unacknowledged

  friend bool operator==(const StepPlan&, const StepPlan&) = default;
};

struct SyncMode {
  absl::string_view name;
  // Whether workers wait for one another, so that all must run at once (a barrier stage in Spark).
  bool strong = false;

  // What to do with a push.
  PushDecision (*on_push)(const PartView&, const PushView&) = nullptr;
  // Whether the held pushes are to be applied now, as one update, and the clock closed. Asked after every event.
  bool (*closes)(const PartView&) = nullptr;
  // Whether a read that asks for `clock` may be answered.
  ReadAction (*may_read)(const PartView&, uint64_t clock) = nullptr;

  StepPlan (*on_step)(const Sync& settings, const WorkerView&) = nullptr;
};

extern const SyncMode kDownpour;
extern const SyncMode kAsp;
extern const SyncMode kBsp;

// All modes, in the order in which they are listed to people.
std::span<const SyncMode* const> SyncModes();

// InvalidArgument with the known names when there is no such mode.
absl::StatusOr<const SyncMode*> FindSyncMode(absl::string_view name);

}  // namespace downpour
