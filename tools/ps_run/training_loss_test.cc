#include "tools/ps_run/training_loss.h"

#include <limits>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

namespace downpour::run {
namespace {

// A worker's epochs, each the sum of its losses and of its samples.
WorkerStatus Worker(const std::vector<std::pair<double, double>>& epochs) {
  WorkerStatus worker;
  for (const auto& [sum, weight] : epochs) {
    Measured* train = worker.mutable_report()->add_epochs()->mutable_train();
    train->set_loss_sum(sum);
    train->set_weight(weight);
  }
  return worker;
}

TEST_CASE("the loss of an epoch is the mean over all workers' samples") {
  JobStatus status;
  status.workers = {Worker({{20, 10}, {5, 10}}), Worker({{100, 30}, {7, 30}}), Worker({})};
  const auto loss = TrainingLossOf(status);
  REQUIRE(loss.has_value());
  CHECK(loss->first == Approx(3));
  CHECK(loss->last == Approx(0.3));
}

TEST_CASE("a loss that is not known is none") {
  JobStatus status;
  CHECK_FALSE(TrainingLossOf(status).has_value());
  status.workers = {Worker({})};
  CHECK_FALSE(TrainingLossOf(status).has_value());
  status.workers = {Worker(std::vector<std::pair<double, double>>(1000, {1, 1}))};
  CHECK_FALSE(TrainingLossOf(status).has_value());
  // The second try at a partition.
  status.workers = {Worker({{0, 0}, {5, 10}})};
  CHECK(TrainingLossOf(status)->first == Approx(0.5));
}

TEST_CASE("a loss that grows is told of, with the rate") {
  Job job;
  job.mutable_optimizer()->set_learning_rate(0.5);
  const auto said = [&job](double first, double last) {
    JobStatus status;
    status.workers = {Worker({{first, 1}, {last, 1}})};
    return Divergence(job, status).value_or("");
  };
  CHECK(said(2.3, 0.4).empty());
  CHECK(said(2.3, 2.31).empty());
  CHECK(said(2.3, 4.5e30) ==
        "the loss grew from 2.3 in the first epoch to 4.5e+30 in the last: the run diverged; optimizer.learning_rate, "
        "0.5, may be too much for it");
  CHECK_FALSE(said(2.3, std::numeric_limits<double>::infinity()).empty());
}

}  // namespace
}  // namespace downpour::run
