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

// What rules read besides the gradient. The same for every block of one update of a range.
struct Hyper {
  float learning_rate = 0;
  uint64_t update = 1;  // which update of the part this is, from 1
  float weight_decay = 0;
  // A rule need not know of these two: ApplyUpdate sees to them.
  float l1 = 0;
  float clip_value = 0;  // bound of each element of the gradient with its penalties; 0 for none
  // Of single rules; their files say what for.
  float momentum = 0;
  float momentum_decay = 0;
  float beta1 = 0;
  float beta2 = 0;
  float alpha = 0;
  float rho = 0;
  float epsilon = 0;
  float initial_accumulator = 0;
  float beta = 0;
  float l2 = 0;
  float trust = 0;
};

// The running vectors of a rule, each as long as the parameters, zero before the first update.
using Slots = std::span<float* const>;

struct UpdateRule {
  std::string_view name;
  int slots = 0;
  bool decoupled = false;   // weight_decay is elsewhere in its formula than in the gradient
  bool own_l1 = false;      // it does know of l1
  bool per_tensor = false;  // it reads norms, so it must be given whole tensors, one at a time
  bool lazy = false;        // without penalties a gradient of zero changes neither a parameter nor its slots
  // Updates `w` and `slots` in place. Unless the rule is `per_tensor`, element i depends on nothing but
  // element i, so that an update by blocks, in any order, gives the bits of the whole. `g` may not overlap the
  // rest. A rate of zero makes no infinity; where it never was anything else, parameters stay as they are. Any
  // thread; allocates nothing.
  void (*update)(const Hyper&, std::span<float> w, Slots slots, std::span<const float> g) = nullptr;
};

extern const UpdateRule kSgd;
extern const UpdateRule kMomentum;
extern const UpdateRule kNesterov;
extern const UpdateRule kAdagrad;
extern const UpdateRule kAdadelta;
extern const UpdateRule kRmsprop;
extern const UpdateRule kAdam;
extern const UpdateRule kAdamw;
extern const UpdateRule kAdamax;
extern const UpdateRule kNadam;
extern const UpdateRule kAmsgrad;
extern const UpdateRule kFtrl;
extern const UpdateRule kLars;

// All rules, in the order in which they are listed to people.
std::span<const UpdateRule* const> UpdateRules();

// InvalidArgument with the known names when there is no such rule.
absl::StatusOr<const UpdateRule*> FindUpdateRule(std::string_view name);

// A whole update: the rule's, from g + weight_decay * w + l1 * sign(w) with each element limited to
// +-clip_value, without the terms that the rule has elsewhere. `scratch` has at least g.size() floats and may
// begin where g does. What the rule says of blocks holds here too.
void ApplyUpdate(const UpdateRule& rule, const Hyper& h, std::span<float> w, Slots slots,
                 std::span<const float> g, std::span<float> scratch);

}  // namespace downpour::kernels
