#include "worker/congestion_control.h"

#include <algorithm>

namespace downpour::worker {

WireVerdict Judge(const WireWindow& window) {
  const double late = window.fetch_interval > 0 ? window.fetch_round_trip / window.fetch_interval : 0;
  if (window.waited_share() > 0.1 || late > 1) return WireVerdict::kBusy;
  return window.waited_share() < 1.0 / 30 && late < 0.5 ? WireVerdict::kCalm : WireVerdict::kFair;
}

bool CongestionControl::OnWindow(const WireWindow& window) {
  const WireVerdict verdict = Judge(window);
  calm_ = verdict == WireVerdict::kCalm ? calm_ + 1 : 0;
  if (verdict == WireVerdict::kBusy && level_ + 1 < levels_) {
    if (just_relaxed_) needed_ = std::min(2 * needed_, kMostCalm);
    just_relaxed_ = false;
    ++level_;
    ++changes_;
    return true;
  }
  if (calm_ >= needed_ && level_ > 0) {
    calm_ = 0;
    just_relaxed_ = true;
    --level_;
    ++changes_;
    return true;
  }
  return false;
}

}  // namespace downpour::worker
