#include "proto/schedule.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "proto/key.pb.h"

namespace downpour {
namespace {

Schedule Make(const std::string& policy, float gamma, float power, uint64_t steps) {
  Schedule schedule;
  schedule.set_policy(policy);
  schedule.set_gamma(gamma);
  schedule.set_power(power);
  schedule.set_steps(steps);
  return schedule;
}

TEST_CASE("each policy follows its formula") {
  CHECK(ScheduleFactor(Make("fixed", 0, 0, 1), 1000) == 1);
  CHECK(ScheduleFactor(Make("inv", 1e-4f, 0.75f, 1), 0) == 1);
  CHECK(ScheduleFactor(Make("inv", 1e-4f, 0.75f, 1), 5000) == Approx(std::pow(1.5, -0.75)));
  CHECK(ScheduleFactor(Make("poly", 0, 1, 100), 25) == Approx(0.75));
  CHECK(ScheduleFactor(Make("poly", 0, 2, 100), 50) == Approx(0.25));
  CHECK(ScheduleFactor(Make("poly", 0, 1, 100), 100) == 0);
  CHECK(ScheduleFactor(Make("poly", 0, 1, 100), 1000000) == 0);
}

TEST_CASE("each policy that a job may name changes the rate, the constant one excepted") {
  const auto& choices =
      Schedule::descriptor()->FindFieldByName("policy")->options().GetExtension(key).choices();
  for (const std::string& policy : choices) {
    INFO(policy);
    CHECK((ScheduleFactor(Make(policy, 0.1f, 1, 100), 50) < 1) == (policy != "fixed"));
  }
}

TEST_CASE("the rate is the base times the factor") {
  Job job;
  job.mutable_optimizer()->set_learning_rate(0.5f);
  *job.mutable_schedule() = Make("poly", 0, 1, 10);
  CHECK(LearningRate(job, 5) == Approx(0.25));
}

}  // namespace
}  // namespace downpour
