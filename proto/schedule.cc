#include "proto/schedule.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "absl/strings/string_view.h"
#include "kernels/optimizer/power.h"

namespace downpour {
namespace {

struct Policy {
  absl::string_view name;
  double (*factor)(const Schedule&, uint64_t step);
};

// From 0 at the start to 1 at the schedule's end.
double Progress(const Schedule& s, uint64_t step) {
  return step >= s.steps() ? 1 : static_cast<double>(step) / static_cast<double>(s.steps());
}

uint64_t StepValuesPast(const Schedule& s, uint64_t step) {
  return std::upper_bound(s.step_values().begin(), s.step_values().end(), step) - s.step_values().begin();
}

constexpr std::array kPolicies = {
    Policy{"fixed", [](const Schedule&, uint64_t) { return 1.0; }},
    Policy{"step",
           [](const Schedule& s, uint64_t step) { return kernels::Power(s.gamma(), step / s.step_size()); }},
    Policy{"multistep",
           [](const Schedule& s, uint64_t step) { return kernels::Power(s.gamma(), StepValuesPast(s, step)); }},
    Policy{"exp", [](const Schedule& s, uint64_t step) { return kernels::Power(s.gamma(), step); }},
    Policy{"inv",
           [](const Schedule& s, uint64_t step) {
             return std::pow(1 + s.gamma() * static_cast<double>(step), -s.power());
           }},
    Policy{"poly", [](const Schedule& s, uint64_t step) { return std::pow(1 - Progress(s, step), s.power()); }},
    Policy{"sigmoid",
           [](const Schedule& s, uint64_t step) {
             const double from_middle = static_cast<double>(step) - static_cast<double>(s.step_size());
             return 1 / (1 + std::exp(-s.gamma() * from_middle));
           }},
    Policy{"cosine",
           [](const Schedule& s, uint64_t step) {
             const double wave = (1 + std::cos(std::numbers::pi * Progress(s, step))) / 2;
             return s.floor() + (1.0 - s.floor()) * wave;
           }},
};

double WarmUp(const Schedule& s, uint64_t step) {
  if (step >= s.warmup_steps()) return 1;
  return s.warmup_from() +
         (1.0 - s.warmup_from()) * static_cast<double>(step) / static_cast<double>(s.warmup_steps());
}

}  // namespace

double ScheduleFactor(const Schedule& schedule, uint64_t step) {
  for (const Policy& policy : kPolicies) {
    if (policy.name == schedule.policy()) return policy.factor(schedule, step) * WarmUp(schedule, step);
  }
  return WarmUp(schedule, step);  // ParseJob lets no other name through; an empty one is a job without a policy.
}

float LearningRate(const Job& job, uint64_t step) {
  return static_cast<float>(job.optimizer().learning_rate() * ScheduleFactor(job.schedule(), step));
}

}  // namespace downpour
