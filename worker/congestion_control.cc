#include "worker/congestion_control.h"

#include <algorithm>
#include <utility>

namespace downpour::worker {

WireVerdict Judge(const WireWindow& window) {
  const double late = window.fetch_interval > 0 ? window.fetch_round_trip / window.fetch_interval : 0;
  if (window.waited_share() > 0.1 || late > 1) return WireVerdict::kBusy;
  return window.waited_share() < 1.0 / 30 && late < 0.5 ? WireVerdict::kCalm : WireVerdict::kFair;
}

bool CongestionControl::OnWindow(const WireWindow& window) {
  if (std::exchange(changed_, false)) return false;
  const WireVerdict verdict = Judge(window);
  calm_ = verdict == WireVerdict::kCalm ? calm_ + 1 : 0;
  if (verdict == WireVerdict::kBusy && level_ + 1 < levels_) {
    if (just_relaxed_) needed_ = std::min(2 * needed_, kMostCalm);
    just_relaxed_ = false;
    ++level_;
  } else if (calm_ >= needed_ && (level_ > 0 || just_relaxed_)) {
    calm_ = 0;
    // It was not too early.
    if (std::exchange(just_relaxed_, level_ > 0)) needed_ = std::max(needed_ / 2, kLeastCalm);
    if (level_ == 0) return false;
    --level_;
  } else {
    return false;
  }
  changed_ = true;
  ++changes_;
  return true;
}

}  // namespace downpour::worker
