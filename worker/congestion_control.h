// When a worker sends less, and when more again: the job's levels (proto/codec/wire_codecs.h), up one where the wire
// keeps the step waiting, down one after a while in which it did not, and down at once where going up made steps no
// faster: then it is not the wire that they wait for. A while is longer after each time that a change was of no use, as
// TCP backs off.
#pragma once

#include <cstddef>
#include <cstdint>

namespace downpour::worker {

// What the data plane did in a stretch of training.
struct WireWindow {
  double seconds = 0;
  double waited_seconds = 0;   // in which the step waited for pushes to be acknowledged or a fetch to arrive
  double push_round_trip = 0;  // means, in seconds; 0 where there was none
  double fetch_round_trip = 0;
  double bytes = 0;     // of payload, acknowledged and fetched
  uint64_t pushes = 0;  // acknowledged
  uint64_t steps = 0;
  uint32_t fetch_every = 0;  // steps from one fetch to the next, if none is late; 0 where they follow one another

  double waited_share() const { return seconds > 0 ? waited_seconds / seconds : 0; }
  double goodput() const { return seconds > 0 ? bytes / seconds : 0; }
  double step_rate() const { return seconds > 0 ? static_cast<double>(steps) / seconds : 0; }
  // How long a fetch took, in times from one to the next with steps that wait for nothing; 0 where that means nothing.
  double fetch_lateness() const;
};

// Whether a stretch says enough: some pushes and some time, or much time.
bool LongEnough(uint32_t pushes, double seconds);

enum class WireVerdict : uint8_t { kBusy, kFair, kCalm };

// Busy: the step waited for more than a tenth of the time, or fetches took longer than from one to the next. Calm: it
// waited for less than a thirtieth, and fetches took less than half.
WireVerdict Judge(const WireWindow& window);

// One thread.
class CongestionControl {
 public:
  // Levels are 0 to `levels` - 1; more sends less.
  explicit CongestionControl(size_t levels) : levels_(levels) {}

  size_t level() const { return level_; }
  uint64_t changes() const { return changes_; }

  // Whether the level has changed for what this stretch was like. The one after a change still has much of what was
  // sent before, and does not count.
  bool OnWindow(const WireWindow& window);

 private:
  static constexpr uint32_t kLeastWhile = 4;
  static constexpr uint32_t kMostWhile = 64;

  bool MoveTo(size_t level);

  const size_t levels_;
  size_t level_ = 0;
  uint64_t changes_ = 0;
  uint32_t calm_ = 0;              // stretches in a row
  uint32_t needed_ = kLeastWhile;  // of them, to go down
  bool just_relaxed_ = false;      // it went down a short while ago
  bool changed_ = false;           // in the last stretch
  bool just_raised_ = false;       // before that
  double rate_before_ = 0;         // steps a second, when it went up
  double lateness_before_ = 0;
  uint32_t rest_ = 0;              // busy stretches until it goes up again
  uint32_t next_rest_ = kLeastWhile;
};

}  // namespace downpour::worker
