// The line that says how far a run is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tools/ps_run/series.h"

namespace downpour::run {

struct ProgressView {
  Point point;
  double epochs = 0;       // that there will be
  double step = 0;         // mean over workers
  uint64_t max_steps = 0;  // of the job; 0 for none
  std::optional<double> accuracy;      // the last measured
  int top_k = 1;                       // of the accuracy
  std::optional<double> seconds_left;  // none where there is no telling yet
};

// "epoch 3.2 of 8   5,210 images/s   loss 0.312   staleness 1.9   accuracy 89.1 %   0:42 left"; for a job that max_steps
// ends, "epoch 0.4 of 1.9" and, within the first epoch, "step 120 of 300".
std::string FormatProgress(const ProgressView& view);

// 1 -> "accuracy", 5 -> "top-5 accuracy".
std::string AccuracyName(int top_k);

// 83.4 -> "1:23", 3700 -> "1:01:40".
std::string FormatDuration(double seconds);

// 0.31237 -> "0.312", 123456 -> "1.23e+05".
std::string FormatLoss(double loss);

// 5210 -> "5,210".
std::string FormatCount(uint64_t count);

}  // namespace downpour::run
