#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/optimizer/update_rule.h"

namespace downpour::kernels {
namespace {

constexpr std::array kRules = {
    &kSgd,
    &kMomentum,
    &kNesterov,
    &kAdagrad,
    &kAdadelta,
    &kRmsprop,
    &kAdam,
    &kAdamw,
    &kAdamax,
    &kNadam,
    &kAmsgrad,
    &kFtrl,
    &kLars,
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

}  // namespace downpour::kernels
