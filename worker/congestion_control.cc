#include "worker/congestion_control.h"

#include <algorithm>
#include <utility>

namespace downpour::worker {

namespace {

constexpr double kBetter = 1.05;  // is more than chance makes of a figure

}  // namespace

double WireWindow::fetch_lateness() const {
  const double computed = seconds - waited_seconds;
  if (fetch_every == 0 || steps == 0 || computed <= 0) return 0;
  return fetch_round_trip * static_cast<double>(steps) / (computed * fetch_every);
}

bool LongEnough(uint32_t pushes, double seconds) {
  constexpr double kLeastSeconds = 1;
  constexpr double kEnoughSeconds = 5;
  constexpr uint32_t kLeastPushes = 4;
  return seconds >= (pushes < kLeastPushes ? kEnoughSeconds : kLeastSeconds);
}

WireVerdict Judge(const WireWindow& window) {
  const double late = window.fetch_lateness();
  if (window.waited_share() > 0.1 || late > 1) return WireVerdict::kBusy;
  return window.waited_share() < 1.0 / 30 && late < 0.5 ? WireVerdict::kCalm : WireVerdict::kFair;
}

bool CongestionControl::MoveTo(size_t level) {
  level_ = level;
  changed_ = true;
  ++changes_;
  return true;
}

bool CongestionControl::OnWindow(const WireWindow& window) {
  if (std::exchange(changed_, false)) return false;
  const WireVerdict verdict = Judge(window);
  calm_ = verdict == WireVerdict::kCalm ? calm_ + 1 : 0;
  if (calm_ >= kLeastWhile) {
    rest_ = 0;
    next_rest_ = kLeastWhile;
  }
  if (std::exchange(just_raised_, false)) {
    const bool faster = window.step_rate() >= kBetter * rate_before_;
    const bool sooner = lateness_before_ > 1 && kBetter * window.fetch_lateness() <= lateness_before_;
    if (verdict == WireVerdict::kBusy && !faster && !sooner) {
      rest_ = next_rest_;
      next_rest_ = std::min(2 * next_rest_, kMostWhile);
      return MoveTo(level_ - 1);
    }
    next_rest_ = kLeastWhile;
  }
  if (verdict == WireVerdict::kBusy && level_ + 1 < levels_) {
    if (rest_ > 0) return --rest_, false;
    if (just_relaxed_) needed_ = std::min(2 * needed_, kMostWhile);
    just_relaxed_ = false;
    just_raised_ = true;
    rate_before_ = window.step_rate();
    lateness_before_ = window.fetch_lateness();
    return MoveTo(level_ + 1);
  }
  if (calm_ >= needed_ && (level_ > 0 || just_relaxed_)) {
    calm_ = 0;
    // It was not too early.
    if (std::exchange(just_relaxed_, level_ > 0)) needed_ = std::max(needed_ / 2, kLeastWhile);
    return level_ > 0 && MoveTo(level_ - 1);
  }
  return false;
}

}  // namespace downpour::worker
