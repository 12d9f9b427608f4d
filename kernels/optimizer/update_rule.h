// How one gradient changes a range of parameters: a server's part, or a worker's own copy.
//
// A new rule is one file beside this one, one line in table.cc and one name in job.proto's `choices`; the
// contract test walks the table, so it is tested from then on.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"

namespace downpour::kernels {

inline constexpr int kMaxSlots = 4;

// What a rule reads besides the gradient. The same for every block of one update.
struct Hyper {
  float learning_rate = 0;
  float momentum = 0;
  float beta1 = 0;
  float beta2 = 0;
  float epsilon = 0;
  float weight_decay = 0;
  uint64_t update = 1;  // which update of the part this is, from 1
};

// The running vectors of a rule, each as long as the parameters, zero before the first update.
using Slots = std::span<float* const>;

struct UpdateRule {
  std::string_view name;
  int slots = 0;
  // Updates `w` and `slots` in place. Element i depends on nothing but element i, so that an update by
  // blocks, in any order, gives the bits of the whole. `g` may not overlap the rest. Any thread; allocates
  // nothing.
  void (*update)(const Hyper&, std::span<float> w, Slots slots, std::span<const float> g) = nullptr;
};

extern const UpdateRule kSgd;
extern const UpdateRule kMomentum;
extern const UpdateRule kAdam;

// All rules, in the order in which they are listed to people.
std::span<const UpdateRule* const> UpdateRules();

// InvalidArgument with the known names when there is no such rule.
absl::StatusOr<const UpdateRule*> FindUpdateRule(std::string_view name);

}  // namespace downpour::kernels
