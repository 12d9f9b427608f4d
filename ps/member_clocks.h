// How far each partition is with one part, and with it how far the slowest that is there: known at any time, and looked
// for only when the last of the slowest has gone on.
//
// A value; whoever owns one guards it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "proto/sync/mode.h"

namespace downpour::ps {

class MemberClocks {
 public:
  // All are absent.
  explicit MemberClocks(size_t partitions = 0) : views_(partitions) {}

  size_t size() const { return views_.size(); }
  const MemberView& operator[](size_t partition) const { return views_[partition]; }
  std::span<const MemberView> views() const { return views_; }
  bool anybody_is_live() const { return at_slowest_ > 0; }
  // The least clock of those that are live; 0 where nobody is.
  uint64_t slowest() const { return at_slowest_ == 0 ? 0 : slowest_; }

  void SetClock(size_t partition, uint64_t clock) { Set(partition, {views_[partition].membership, clock}); }
  void SetMembership(size_t partition, downpour::Membership membership) {
    Set(partition, {membership, views_[partition].clock});
  }
  void Set(size_t partition, const MemberView& next);

 private:
  void Count(const MemberView& member);

  std::vector<MemberView> views_;  // by partition
  uint64_t slowest_ = 0;
  size_t at_slowest_ = 0;  // live ones whose clock it is
};

}  // namespace downpour::ps
