#include "proto/schedule.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/string_view.h"

namespace downpour {
namespace {

struct Policy {
  absl::string_view name;
  double (*factor)(const Schedule&, double step);
};

constexpr std::array kPolicies = {
    Policy{"fixed", [](const Schedule&, double) { return 1.0; }},
    Policy{"inv", [](const Schedule& s, double step) { return std::pow(1 + s.gamma() * step, -s.power()); }},
    Policy{"poly",
           [](const Schedule& s, double step) {
             return std::pow(std::max(0.0, 1 - step / static_cast<double>(s.steps())), s.power());
           }},
};

}  // namespace

double ScheduleFactor(const Schedule& schedule, uint64_t step) {
  for (const Policy& policy : kPolicies) {
    if (policy.name == schedule.policy()) return policy.factor(schedule, static_cast<double>(step));
  }
  return 1;  // ParseJob lets no other name through; an empty one is a job without a schedule.
}

float LearningRate(const Job& job, uint64_t step) {
  return static_cast<float>(job.optimizer().learning_rate() * ScheduleFactor(job.schedule(), step));
}

}  // namespace downpour
