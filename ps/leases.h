// Which attempt holds which partition, as a shard's events have told it. Membership, beside it, gives the leases; this is
// what a shard makes of it, so that a replay has the same.
//
// A value; whoever owns one guards it.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "proto/frame.h"

namespace downpour::ps {

class Leases {
 public:
  enum class State : uint8_t {
    kAbsent,  // nobody has come yet, or who came will come again
    kLive,
    kEnded,  // given back, or run out
  };
  enum class Joined : uint8_t {
    kRefused,  // there is no such partition, or a newer attempt holds it
    kAgain,
    kNewer,  // supersedes what there was
  };
  struct Doubt {
    Refusal reason = Refusal::kNone;
    std::string sentence;
  };

  explicit Leases(uint32_t partitions) : leases_(partitions), absent_(partitions) {}

  uint32_t partitions() const { return static_cast<uint32_t>(leases_.size()); }

  // `generation` as Join in event.h has it.
  Joined Join(uint32_t partition, uint64_t fence, uint32_t generation, int64_t now_ms);
  // Whether it was the one that holds the partition.
  bool End(uint32_t partition, uint64_t fence, bool done);

  // Nobody has come yet, as far as anyone need know; observers stay.
  void Restart();

  // Observers read, and hold no partition.
  void Observe(uint64_t fence) { observers_.insert(fence); }
  bool EndObserving(uint64_t fence) { return observers_.erase(fence) != 0; }
  bool IsObserver(uint64_t fence) const { return observers_.contains(fence); }

  // `partition` is one that there is.
  State Of(uint32_t partition) const;
  // How many are kAbsent.
  uint32_t absent() const { return absent_; }
  // When the first came; -1 for never.
  int64_t first_join_ms() const { return first_join_ms_; }
  uint32_t generation() const { return generation_; }
  bool NobodyIsLive() const;
  // Everybody has come and gone.
  bool NobodyIsLeft() const;

  bool Holds(const FrameHeader& frame) const;
  // Why one that does not hold its lease is refused.
  Doubt WhyNot(const FrameHeader& frame) const;

 private:
  struct Lease {
    uint64_t fence = 0;  // the newest, also when it has ended
    bool live = false;
    bool done = false;
    uint32_t generation = 0;
  };

  std::vector<Lease> leases_;     // by partition
  uint32_t absent_ = 0;           // of them
  std::set<uint64_t> observers_;  // their fences
  uint32_t generation_ = 0;       // the latest
  int64_t first_join_ms_ = -1;
};

}  // namespace downpour::ps
