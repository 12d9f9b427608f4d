#include "ps/member_clocks.h"

namespace downpour::ps {

void MemberClocks::Set(size_t partition, const MemberView& next) {
  MemberView& member = views_[partition];
  const bool was_slowest = member.membership == Membership::kLive && member.clock == slowest_;
  member = next;
  if (was_slowest && --at_slowest_ == 0) {
    for (const MemberView& each : views_) Count(each);
  } else {
    Count(member);
  }
}

void MemberClocks::Count(const MemberView& member) {
  if (member.membership != Membership::kLive || (at_slowest_ > 0 && member.clock > slowest_)) return;
  if (at_slowest_ == 0 || member.clock < slowest_) {
    slowest_ = member.clock;
    at_slowest_ = 0;
  }
  ++at_slowest_;
}

}  // namespace downpour::ps
