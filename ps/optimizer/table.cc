#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "ps/optimizer/update_rule.h"

namespace downpour::ps {
namespace {

constexpr std::array kRules = {
    &kSgd,
    &kMomentum,
    &kAdam,
};

}  // namespace

std::span<const UpdateRule* const> UpdateRules() { return kRules; }

absl::StatusOr<const UpdateRule*> FindUpdateRule(std::string_view name) {
  for (const UpdateRule* rule : kRules) {
    if (rule->name == name) return rule;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "no optimizer '", std::string(name), "'; there are ",
      absl::StrJoin(kRules, ", ", [](std::string* out, const UpdateRule* r) { out->append(r->name); })));
}

Hyper MakeHyper(const downpour::Optimizer& settings) {
  Hyper hyper;
  hyper.learning_rate = settings.learning_rate();
  hyper.momentum = settings.momentum();
  hyper.beta1 = settings.beta1();
  hyper.beta2 = settings.beta2();
  hyper.epsilon = settings.epsilon();
  hyper.weight_decay = settings.weight_decay();
  return hyper;
}

}  // namespace downpour::ps
