#include "proto/schedule.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <iterator>
#include <string>
#include <utility>

#include "proto/key.pb.h"

namespace downpour {
namespace {

// Keys that a policy does not read have values that would show.
Schedule Make(const std::string& policy) {
  Schedule schedule;
  schedule.set_policy(policy);
  schedule.set_gamma(0.1f);
  schedule.set_power(2);
  schedule.set_steps(100);
  schedule.set_step_size(30);
  for (const uint64_t step : {20, 50, 51}) schedule.add_step_values(step);
  schedule.set_floor(0.2f);
  return schedule;
}

struct Row {
  const char* policy;
  uint64_t step;
  double factor;
};

const Row kTruth[] = {
    {"fixed", 0, 1},
    {"fixed", 1000000, 1},
    {"step", 0, 1},
    {"step", 29, 1},
    {"step", 30, 0.1},
    {"step", 59, 0.1},
    {"step", 60, 0.01},
    {"step", 1000000, 0},
    {"multistep", 0, 1},
    {"multistep", 19, 1},
    {"multistep", 20, 0.1},
    {"multistep", 49, 0.1},
    {"multistep", 50, 0.01},
    {"multistep", 51, 0.001},
    {"multistep", 1000000, 0.001},
    {"exp", 0, 1},
    {"exp", 1, 0.1},
    {"exp", 5, 1e-5},
    {"exp", 1000000, 0},
    {"inv", 0, 1},
    {"inv", 10, 0.25},
    {"inv", 90, 0.01},
    {"poly", 0, 1},
    {"poly", 25, 0.5625},
    {"poly", 50, 0.25},
    {"poly", 100, 0},
    {"poly", 1000000, 0},
    {"sigmoid", 0, 0.0474258731776},
    {"sigmoid", 30, 0.5},
    {"sigmoid", 60, 0.9525741268224},
    {"sigmoid", 1000000, 1},
    {"cosine", 0, 1},
    {"cosine", 25, 0.8828427124746},
    {"cosine", 50, 0.6},
    {"cosine", 75, 0.3171572875254},
    {"cosine", 100, 0.2},
    {"cosine", 1000000, 0.2},
};

TEST_CASE("each policy follows its formula") {
  for (const Row& row : kTruth) {
    INFO(row.policy << " at " << row.step);
    CHECK(ScheduleFactor(Make(row.policy), row.step) == Approx(row.factor).epsilon(1e-6).margin(1e-12));
  }
}

TEST_CASE("a sigmoid of negative steepness falls") {
  Schedule schedule = Make("sigmoid");
  schedule.set_gamma(-0.1f);
  CHECK(ScheduleFactor(schedule, 0) == Approx(0.9525741268224));
  CHECK(ScheduleFactor(schedule, 1000000) == Approx(0).margin(1e-12));
}

TEST_CASE("each policy that a job may name changes the rate, the constant one excepted, and stands in the table") {
  const auto& choices =
      Schedule::descriptor()->FindFieldByName("policy")->options().GetExtension(key).choices();
  for (const std::string& policy : choices) {
    INFO(policy);
    CHECK((ScheduleFactor(Make(policy), 50) < 1) == (policy != "fixed"));
    CHECK(std::any_of(std::begin(kTruth), std::end(kTruth), [&](const Row& row) { return row.policy == policy; }));
  }
}

TEST_CASE("a warm-up goes with every policy") {
  const auto& choices =
      Schedule::descriptor()->FindFieldByName("policy")->options().GetExtension(key).choices();
  const std::pair<uint64_t, double> kWarmUp[] = {{0, 0.25}, {1, 0.4375}, {2, 0.625}, {3, 0.8125}, {4, 1}, {50, 1}};
  for (const std::string& policy : choices) {
    const Schedule cold = Make(policy);
    Schedule warm = cold;
    warm.set_warmup_steps(4);
    warm.set_warmup_from(0.25f);
    for (const auto& [step, factor] : kWarmUp) {
      INFO(policy << " at " << step);
      CHECK(ScheduleFactor(warm, step) == Approx(factor * ScheduleFactor(cold, step)));
    }
  }
}

TEST_CASE("the rate is the base times the factor") {
  Job job;
  job.mutable_optimizer()->set_learning_rate(0.5f);
  *job.mutable_schedule() = Make("poly");
  CHECK(LearningRate(job, 50) == Approx(0.125));
}

}  // namespace
}  // namespace downpour
