// When a worker sends less, and when more again: the job's levels (proto/codec/wire_codecs.h), up one where the wire
// keeps the step waiting, down one after a while in which it did not. A while is longer after each time that going down
// was too early, as TCP backs off.
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
  double bytes = 0;           // of payload, acknowledged and fetched
  uint64_t pushes = 0;        // acknowledged
  double fetch_interval = 0;  // seconds from one fetch to the next, if none is late; 0 where they follow one another

  double waited_share() const { return seconds > 0 ? waited_seconds / seconds : 0; }
  double goodput() const { return seconds > 0 ? bytes / seconds : 0; }
};

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

  // Whether the level has changed for what this stretch was like. The one after a change still has much of what was sent
  // before, and does not count.
  bool OnWindow(const WireWindow& window);

 private:
  static constexpr uint32_t kLeastCalm = 4;
  static constexpr uint32_t kMostCalm = 64;

  const size_t levels_;
  size_t level_ = 0;
  uint64_t changes_ = 0;
  uint32_t calm_ = 0;             // stretches in a row
  uint32_t needed_ = kLeastCalm;  // of them, to go down
  bool just_relaxed_ = false;  // it went down a short while ago
  bool changed_ = false;       // in the last stretch
};

}  // namespace downpour::worker
