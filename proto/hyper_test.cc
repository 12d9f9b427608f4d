#include "proto/hyper.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "proto/key.pb.h"

namespace downpour {
namespace {

TEST_CASE("the rules' names are the job file's choices") {
  const auto& choices = Optimizer::descriptor()->FindFieldByName("name")->options().GetExtension(key).choices();
  std::vector<std::string> names;
  for (const kernels::UpdateRule* rule : kernels::UpdateRules()) names.emplace_back(rule->name);
  CHECK(names == std::vector<std::string>(choices.begin(), choices.end()));
}

// Some parameters after some updates.
std::vector<float> Train(const kernels::UpdateRule& rule, const Optimizer& settings) {
  kernels::Hyper hyper = MakeHyper(settings);
  std::vector<float> w = {0.5f, -2.0f};
  std::vector<float> scratch(w.size());
  std::vector<std::vector<float>> slots(rule.slots, std::vector<float>(w.size()));
  std::vector<float*> at;
  for (auto& slot : slots) at.push_back(slot.data());
  for (hyper.update = 1; hyper.update <= 5; ++hyper.update) {
    kernels::ApplyUpdate(rule, hyper, w, at, std::vector<float>{0.7f, -0.9f + 0.3f * hyper.update}, scratch);
  }
  return w;
}

TEST_CASE("groups go by their settings, and averages by nothing but what a gradient says") {
  for (const kernels::UpdateRule* rule : kernels::UpdateRules()) {
    INFO(rule->name);
    kernels::Hyper hyper;
    hyper.learning_rate = 0.1f;
    hyper.weight_decay = 0.5f;
    hyper.clip_value = 0.01f;
    hyper.beta1 = hyper.beta2 = hyper.alpha = hyper.rho = hyper.momentum = 0.5f;
    hyper.epsilon = hyper.trust = hyper.beta = 1;
    const auto updated = [&](const GroupSettings& settings) {
      std::vector<float> w = {0.5f, -2.0f}, scratch(w.size());
      std::vector<std::vector<float>> slots(rule->slots, std::vector<float>(w.size()));
      std::vector<float*> at;
      for (auto& slot : slots) at.push_back(slot.data());
      ApplyUpdate(*rule, hyper, settings, w, at, std::vector<float>{0.25f, -1.0f}, scratch);
      return w;
    };
    CHECK(updated({.average = true}) == std::vector<float>{0.25f, -1.0f});
    CHECK(updated({.lr_mult = 0}) == std::vector<float>{0.5f, -2.0f});
    CHECK(updated({}) != updated({.lr_mult = 2}));
  }
}

TEST_CASE("each setting that a rule may have acts on it, and no other does") {
  const auto* descriptor = Optimizer::descriptor();
  const auto fill = [descriptor](const std::string& rule) {
    Optimizer settings;
    settings.set_name(rule);
    for (int i = 0; i < descriptor->field_count(); ++i) {
      const auto* field = descriptor->field(i);
      if (field->name() == "name") continue;
      const float value = std::stof(field->options().GetExtension(key).default_value());
      settings.GetReflection()->SetFloat(&settings, field, value);
    }
    return settings;
  };
  for (const kernels::UpdateRule* rule : kernels::UpdateRules()) {
    const std::string name(rule->name);
    const std::vector<float> plain = Train(*rule, fill(name));
    for (int i = 0; i < descriptor->field_count(); ++i) {
      const auto* field = descriptor->field(i);
      if (field->name() == "name") continue;
      INFO(name << " " << field->name());
      const auto& only_for = field->options().GetExtension(key).only_for();
      const bool counts =
          only_for.empty() || std::find(only_for.begin(), only_for.end(), name) != only_for.end();
      Optimizer settings = fill(name);
      settings.GetReflection()->SetFloat(&settings, field, 0.25f);
      CHECK((Train(*rule, settings) != plain) == counts);
    }
  }
}

}  // namespace
}  // namespace downpour
