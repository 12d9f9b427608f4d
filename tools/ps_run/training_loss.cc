#include "tools/ps_run/training_loss.h"

#include "absl/strings/str_format.h"

namespace downpour::run {
namespace {

constexpr int kMostKept = 1000;  // epochs that a worker reports
constexpr double kGrown = 1.2;   // less is chance

struct Mean {
  double sum = 0;
  double weight = 0;

  void Add(const Measured& measured) {
    sum += measured.loss_sum();
    weight += measured.weight();
  }
  double value() const { return sum / weight; }
};

}  // namespace

std::optional<TrainingLoss> TrainingLossOf(const JobStatus& status) {
  Mean first;
  Mean last;
  for (const WorkerStatus& worker : status.workers) {
    const auto& epochs = worker.report().epochs();
    if (epochs.empty()) continue;
    if (epochs.size() >= kMostKept) return std::nullopt;
    first.Add(epochs.begin()->train());
    last.Add(epochs.rbegin()->train());
  }
  if (last.weight == 0) return std::nullopt;
  // What an earlier try at a partition went through is not known.
  return TrainingLoss{.first = first.weight > 0 ? first.value() : last.value(), .last = last.value()};
}

std::optional<std::string> Divergence(const Job& job, const JobStatus& status) {
  const auto loss = TrainingLossOf(status);
  if (!loss || loss->last <= kGrown * loss->first) return std::nullopt;
  return absl::StrFormat(
      "the loss grew from %.3g in the first epoch to %.3g in the last: the run diverged; optimizer.learning_rate, %g, "
      "may be too much for it",
      loss->first, loss->last, job.optimizer().learning_rate());
}

}  // namespace downpour::run
