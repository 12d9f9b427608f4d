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

// How tightly workers are coupled.
enum class Coupling : uint8_t {
  kNone,     // nobody waits for another
  kBounded,  // reads wait for workers that are there and too far behind
  kRounds,   // a part's clock closes when all workers of the job have pushed; all must run at once
};

// What a read sees where clocks don't matter: it is content with any.
inline constexpr uint64_t kAnyClock = UINT64_MAX;

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

// One part, as the policy sees it. A clock is one round of pushes, or without rounds one push's step.
struct PartView {
  uint64_t clock = 0;  // clocks closed
  uint32_t held = 0;   // pushes that wait for the clock to close
  std::span<const MemberView> members;  // by partition; one for each of the job's workers
  uint64_t slowest = 0;  // SlowestClock(members); whoever has the members knows it without looking at all of them
};

// The least clock of the members that are there; 0 where nobody is.
uint64_t SlowestClock(std::span<const MemberView> members);

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

// ---- The worker's half: what to do at one step.

struct WorkerView {
  uint64_t step = 0;             // steps completed by this attempt's partition
  uint64_t first_step = 0;       // the step at which this attempt began
  bool fetch_in_flight = false;  // a fetch was started and has not been installed
  bool fetched = false;          // one was installed since the last step
  uint64_t seen_clock = 0;       // the least clock of a part in what was installed last
};

struct StepPlan {
  bool fetch = false;            // start fetching
  uint64_t fetch_clock = 0;      // the least clock that the fetch must see
  bool after_own_push = false;   // see, besides, each part as of the clock after the worker's own last push to it
  bool wait_for_fetch = false;   // before computing; the mode is then asked again
  bool follow_clock = false;     // the worker's step is never behind the clock it has read
  bool plain_step = false;       // apply the gradient to the worker's copy by plain SGD
  bool optimizer_step = false;   // apply it by the job's optimizer
  bool push = false;             // push what has accrued, this step's gradient included
  uint32_t pushes_in_flight = 0; // after pushing, wait until no more than this many are unacknowledged

  friend bool operator==(const StepPlan&, const StepPlan&) = default;
};

struct SyncMode {
  absl::string_view name;
  PushContent content = PushContent::kGradient;
  // The shards live in the workers, an equal share in each, and there are no servers besides.
  bool peers = false;

  Coupling (*coupling)(const Sync& settings) = nullptr;
  // What to do with a push.
  PushDecision (*on_push)(const Sync& settings, const PartView&, const PushView&) = nullptr;
  // Whether the held pushes are to be applied now, as one update, and the clock closed. Asked when someone has
  // pushed or left, and when settings change.
  bool (*closes)(const Sync& settings, const PartView&) = nullptr;
  // The clock that a read of the part sees: it may be answered when that is no less than the clock it asks for. It moves
  // only with the view's clock and slowest.
  uint64_t (*read_clock)(const PartView&) = nullptr;
  // The clock at which a worker that comes, or comes again, goes on; no less than its own.
  uint64_t (*entry_clock)(const PartView&) = nullptr;

  StepPlan (*on_step)(const Sync& settings, const WorkerView&) = nullptr;
  // Steps from one clock to the next.
  uint64_t (*steps_a_clock)(const Sync& settings) = nullptr;
};

extern const SyncMode kDownpour;
extern const SyncMode kAsp;
extern const SyncMode kBsp;
extern const SyncMode kSsp;
extern const SyncMode kLocalSgd;
extern const SyncMode kEasgd;
extern const SyncMode kPeer;

// Whether all workers of a job must run at once (a barrier stage in Spark).
inline bool IsStrong(const SyncMode& mode, const Sync& settings) {
  return mode.coupling(settings) == Coupling::kRounds;
}

// All modes, in the order in which they are listed to people.
std::span<const SyncMode* const> SyncModes();

// InvalidArgument with the known names when there is no such mode.
absl::StatusOr<const SyncMode*> FindSyncMode(absl::string_view name);

}  // namespace downpour
