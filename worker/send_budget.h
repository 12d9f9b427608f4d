// What may be sent within a bound on bytes a second: a bucket that fills by the time and is drawn on.
#pragma once

#include <algorithm>

namespace downpour::worker {

// Time comes in, in seconds of a clock that does not go back. One thread.
class SendBudget {
 public:
  // 0 for no bound.
  explicit SendBudget(double bytes_per_second) : rate_(bytes_per_second) {}

  bool bounded() const { return rate_ > 0; }

  // Bytes that may be sent now; below zero where more was sent than that. At most what a second brings.
  double At(double now) {
    bytes_ = last_ == 0 ? rate_ : std::min(rate_, bytes_ + (now - last_) * rate_);
    last_ = now;
    return bytes_;
  }

  void Spend(double bytes) { bytes_ -= bytes; }

 private:
  const double rate_;
  double bytes_ = 0;
  double last_ = 0;
};

}  // namespace downpour::worker
