// A worker made slow on purpose: the straggler of an experiment.
#pragma once

#include <chrono>

namespace downpour::worker {

// Makes each step take `factor` times as long as its computation does, by sleeping after it; 1 does nothing. The compute
// thread's.
class SlowDown {
 public:
  static constexpr double kMost = 100;

  // `factor` is from 1 to kMost.
  explicit SlowDown(double factor) : factor_(factor) {}

  // Around the computation of each step.
  void Before();
  void After() const;

 private:
  using Clock = std::chrono::steady_clock;

  const double factor_;
  Clock::time_point begun_;
};

}  // namespace downpour::worker
