#include "tools/ps_run/progress_line.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace downpour::run {
namespace {

std::string FormatAdvance(const ProgressView& view) {
  if (view.epochs < 1 && view.max_steps > 0) {
    return absl::StrCat("step ", FormatCount(std::llround(view.step)), " of ", FormatCount(view.max_steps));
  }
  const bool whole = std::abs(view.epochs - std::round(view.epochs)) < 1e-6;
  return absl::StrFormat("epoch %.1f of %.*f", view.point.epoch, whole ? 0 : 1, view.epochs);
}

}  // namespace

std::string FormatCount(uint64_t count) {
  std::string digits = absl::StrCat(count);
  for (int at = static_cast<int>(digits.size()) - 3; at > 0; at -= 3) digits.insert(at, 1, ',');
  return digits;
}

std::string FormatDuration(double seconds) {
  const auto whole = static_cast<uint64_t>(std::llround(std::max(0.0, seconds)));
  if (whole >= 3600) return absl::StrFormat("%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60);
  return absl::StrFormat("%d:%02d", whole / 60, whole % 60);
}

std::string FormatLoss(double loss) {
  if (std::isnan(loss)) return "nan";  // of either sign
  return std::abs(loss) < 1e4 ? absl::StrFormat("%.3f", loss) : absl::StrFormat("%.3g", loss);
}

std::string AccuracyName(int top_k) { return top_k == 1 ? "accuracy" : absl::StrCat("top-", top_k, " accuracy"); }

std::string FormatProgress(const ProgressView& view) {
  std::string line = FormatAdvance(view);
  if (view.point.images_per_second > 0) {
    absl::StrAppend(&line, "   ", FormatCount(std::llround(view.point.images_per_second)), " images/s");
  }
  absl::StrAppend(&line, "   loss ", FormatLoss(view.point.loss));
  absl::StrAppend(&line, absl::StrFormat("   staleness %.1f", view.point.staleness));
  if (view.accuracy) {
    absl::StrAppend(&line, absl::StrFormat("   %s %.1f %%", AccuracyName(view.top_k), *view.accuracy * 100));
  }
  if (view.seconds_left) absl::StrAppend(&line, "   ", FormatDuration(*view.seconds_left), " left");
  return line;
}

}  // namespace downpour::run
