#include "kernels/optimizer/update_rule.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace downpour::kernels {
namespace {

Hyper TestHyper() {
  Hyper h;
  h.learning_rate = 0.05f;
  h.momentum = 0.9f;
  h.beta1 = 0.9f;
  h.beta2 = 0.999f;
  h.epsilon = 1e-8f;
  return h;
}

// Parameters and slots, as a part holds them.
struct State {
  State(const UpdateRule& rule, std::vector<float> w)
      : values(std::move(w)), slots(rule.slots, std::vector<float>(values.size())) {}

  void Update(const UpdateRule& rule, const Hyper& h, std::span<const float> g, size_t begin, size_t end) {
    std::vector<float*> at;
    for (auto& slot : slots) at.push_back(slot.data() + begin);
    rule.update(h, std::span(values).subspan(begin, end - begin), at, g.subspan(begin, end - begin));
  }

  std::vector<float> values;
  std::vector<std::vector<float>> slots;
};

// With a constant gradient g from w0, without weight decay: the parameter after n updates.
const std::map<std::string, std::function<double(const Hyper&, double w0, double g, int n)>> kClosedForms = {
    {"sgd", [](const Hyper& h, double w0, double g, int n) { return w0 - h.learning_rate * g * n; }},
    {"momentum",
     [](const Hyper& h, double w0, double g, int n) {
       // The sum over k = 1..n of (1 - m^k) / (1 - m).
       const double m = h.momentum;
       const double sum = (n - m * (1 - std::pow(m, n)) / (1 - m)) / (1 - m);
       return w0 - h.learning_rate * g * sum;
     }},
    {"adam", [](const Hyper& h, double w0, double g,
                int n) { return w0 - n * h.learning_rate * g / (std::abs(g) + h.epsilon); }},
};

std::vector<float> RandomFloats(size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> out(n);
  for (float& x : out) x = static_cast<float>(static_cast<int>(random() % 2001) - 1000) / 997.0f;
  return out;
}

TEST_CASE("an unknown name prints the known ones") {
  const auto found = FindUpdateRule("sdg");
  REQUIRE(found.status().code() == absl::StatusCode::kInvalidArgument);
  for (const UpdateRule* rule : UpdateRules()) {
    CHECK(std::string(found.status().message()).find(std::string(rule->name)) != std::string::npos);
    CHECK(*FindUpdateRule(rule->name) == rule);
  }
}

TEST_CASE("every rule follows its closed form") {
  for (const UpdateRule* rule : UpdateRules()) {
    DYNAMIC_SECTION(rule->name) {
      const auto form = kClosedForms.find(std::string(rule->name));
      REQUIRE(form != kClosedForms.end());
      REQUIRE(rule->slots <= kMaxSlots);
      const std::vector<float> gradient = {0.5f, -2.0f, 1e-3f, 100.0f};
      const std::vector<float> start = {1.0f, -1.0f, 0.25f, 3.0f};
      State state(*rule, start);
      Hyper h = TestHyper();
      for (int n = 1; n <= 20; ++n) {
        h.update = n;
        state.Update(*rule, h, gradient, 0, gradient.size());
        for (size_t i = 0; i < gradient.size(); ++i) {
          const double want = form->second(h, start[i], gradient[i], n);
          CHECK(state.values[i] == Approx(want).epsilon(2e-5).margin(2e-5));
        }
      }
    }
  }
}

TEST_CASE("weight decay is added to the gradient") {
  for (const UpdateRule* rule : UpdateRules()) {
    DYNAMIC_SECTION(rule->name) {
      Hyper plain = TestHyper();
      Hyper decayed = plain;
      decayed.weight_decay = 0.1f;
      const std::vector<float> start = RandomFloats(33, 1);
      const std::vector<float> gradient = RandomFloats(33, 2);
      State with(*rule, start);
      State by_hand(*rule, start);
      for (uint64_t n = 1; n <= 5; ++n) {
        plain.update = decayed.update = n;
        std::vector<float> sum = gradient;
        for (size_t i = 0; i < sum.size(); ++i) sum[i] += 0.1f * by_hand.values[i];
        by_hand.Update(*rule, plain, sum, 0, sum.size());
        with.Update(*rule, decayed, gradient, 0, gradient.size());
        CHECK(with.values == by_hand.values);
      }
    }
  }
}

TEST_CASE("an update by ranges gives the bits of the whole") {
  constexpr size_t kSize = 5003;
  for (const UpdateRule* rule : UpdateRules()) {
    DYNAMIC_SECTION(rule->name) {
      Hyper h = TestHyper();
      h.weight_decay = 1e-3f;
      State whole(*rule, RandomFloats(kSize, 3));
      State split(*rule, RandomFloats(kSize, 3));
      for (unsigned n = 1; n <= 4; ++n) {
        h.update = n;
        const std::vector<float> gradient = RandomFloats(kSize, 10 + n);
        whole.Update(*rule, h, gradient, 0, kSize);
        for (size_t begin = 0, size = 1; begin < kSize; begin += size, size = size * 3 + n) {
          split.Update(*rule, h, gradient, begin, std::min(kSize, begin + size));
        }
      }
      CHECK(whole.values == split.values);
      CHECK(whole.slots == split.slots);
    }
  }
}

}  // namespace
}  // namespace downpour::kernels
