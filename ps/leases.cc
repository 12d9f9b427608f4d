#include "ps/leases.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace downpour::ps {

Leases::Joined Leases::Join(uint32_t partition, uint64_t fence, uint32_t generation, int64_t now_ms) {
  if (partition >= leases_.size() || fence < leases_[partition].fence) return Joined::kRefused;
  Lease& lease = leases_[partition];
  const Joined joined = fence > lease.fence ? Joined::kNewer : Joined::kAgain;
  absent_ -= Of(partition) == State::kAbsent;
  lease = {.fence = fence, .live = true, .generation = generation};
  absent_ += Of(partition) == State::kAbsent;
  if (generation > generation_) {
    generation_ = generation;
    // Those of earlier ones will come again.
    absent_ = 0;
    for (uint32_t i = 0; i < partitions(); ++i) absent_ += Of(i) == State::kAbsent;
  }
  if (first_join_ms_ < 0) first_join_ms_ = now_ms;
  return joined;
}

bool Leases::End(uint32_t partition, uint64_t fence, bool done) {
  if (partition >= leases_.size() || !leases_[partition].live || leases_[partition].fence != fence) return false;
  absent_ -= Of(partition) == State::kAbsent;
  leases_[partition].live = false;
  leases_[partition].done = done;
  absent_ += Of(partition) == State::kAbsent;
  return true;
}

void Leases::Restart() {
  leases_ = std::vector<Lease>(leases_.size());
  absent_ = partitions();
  generation_ = 0;
  first_join_ms_ = -1;
}

Leases::State Leases::Of(uint32_t partition) const {
  const Lease& lease = leases_[partition];
  if (lease.fence == 0) return State::kAbsent;
  if (lease.live) return State::kLive;
  const bool comes_again = lease.generation < generation_ || (lease.generation > 0 && !lease.done);
  return comes_again ? State::kAbsent : State::kEnded;
}

bool Leases::NobodyIsLive() const {
  for (uint32_t i = 0; i < partitions(); ++i) {
    if (Of(i) == State::kLive) return false;
  }
  return true;
}

bool Leases::NobodyIsLeft() const {
  for (uint32_t i = 0; i < partitions(); ++i) {
    if (Of(i) != State::kEnded) return false;
  }
  return true;
}

bool Leases::Holds(const FrameHeader& frame) const {
  return frame.worker < leases_.size() && leases_[frame.worker].live && leases_[frame.worker].fence == frame.fence &&
         frame.fence != 0;
}

Leases::Doubt Leases::WhyNot(const FrameHeader& frame) const {
  if (frame.worker >= leases_.size()) {
    return {Refusal::kFenced, absl::StrCat("the job has no partition ", frame.worker)};
  }
  const Lease& lease = leases_[frame.worker];
  if (frame.fence < lease.fence) {
    return {Refusal::kFenced, absl::StrCat("a newer attempt holds partition ", frame.worker)};
  }
  if (frame.fence != 0 && frame.fence == lease.fence && !lease.live) {
    return {Refusal::kLeaseEnded, absl::StrCat("the lease of partition ", frame.worker, " has ended")};
  }
  return {Refusal::kFenced, absl::StrCat("fence ", frame.fence, " holds no lease of partition ", frame.worker)};
}

}  // namespace downpour::ps
