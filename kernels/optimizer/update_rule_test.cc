#include "kernels/optimizer/update_rule.h"

#include <algorithm>
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
  h.momentum_decay = 0.004f;
  h.beta1 = 0.9f;
  h.beta2 = 0.999f;
  h.alpha = 0.99f;
  h.rho = 0.9f;
  h.epsilon = 1e-8f;
  h.initial_accumulator = 0.1f;
  h.beta = 1.0f;
  h.trust = 0.01f;
  return h;
}

// Parameters and slots, as a part holds them.
struct State {
  State(const UpdateRule& rule, std::vector<float> w)
      : values(std::move(w)), scratch(values.size()), slots(rule.slots, std::vector<float>(values.size())) {}

  void Update(const UpdateRule& rule, const Hyper& h, std::span<const float> g, size_t begin, size_t end) {
    std::vector<float*> at;
    for (auto& slot : slots) at.push_back(slot.data() + begin);
    const size_t size = end - begin;
    ApplyUpdate(rule, h, std::span(values).subspan(begin, size), at, g.subspan(begin, size), scratch);
  }

  void Update(const UpdateRule& rule, const Hyper& h, std::span<const float> g) {
    Update(rule, h, g, 0, values.size());
  }

  std::vector<float> values;
  std::vector<float> scratch;
  std::vector<std::vector<float>> slots;
};

double AdamForm(const Hyper& h, double w0, double g, int n) {
  return w0 - n * h.learning_rate * g / (std::abs(g) + h.epsilon);
}

// The parameter, a tensor of its own, after n updates by a constant gradient g from w0, without penalties. Where
// no closed form is known: the sum or the recursion, in doubles.
const std::map<std::string, std::function<double(const Hyper&, double w0, double g, int n)>> kClosedForms = {
    {"sgd", [](const Hyper& h, double w0, double g, int n) { return w0 - h.learning_rate * g * n; }},
    {"momentum",
     [](const Hyper& h, double w0, double g, int n) {
       // The sum over k = 1..n of (1 - m^k) / (1 - m).
       const double m = h.momentum;
       const double sum = (n - m * (1 - std::pow(m, n)) / (1 - m)) / (1 - m);
       return w0 - h.learning_rate * g * sum;
     }},
    {"nesterov",
     [](const Hyper& h, double w0, double g, int n) {
       // The sum over k = 1..n of 1 + m * (1 - m^k) / (1 - m).
       const double m = h.momentum;
       const double sum = n + m * (n - m * (1 - std::pow(m, n)) / (1 - m)) / (1 - m);
       return w0 - h.learning_rate * g * sum;
     }},
    {"adagrad",
     [](const Hyper& h, double w, double g, int n) {
       for (int k = 1; k <= n; ++k) {
         w -= h.learning_rate * g / (std::sqrt(h.initial_accumulator + k * g * g) + h.epsilon);
       }
       return w;
     }},
    {"adadelta",
     [](const Hyper& h, double w, double g, int n) {
       double mean_square_step = 0;
       for (int k = 1; k <= n; ++k) {
         const double square = g * g * (1 - std::pow(h.rho, k));
         const double step = g * std::sqrt((mean_square_step + h.epsilon) / (square + h.epsilon));
         mean_square_step = h.rho * mean_square_step + (1.0 - h.rho) * step * step;
         w -= h.learning_rate * step;
       }
       return w;
     }},
    {"rmsprop",
     [](const Hyper& h, double w, double g, int n) {
       for (int k = 1; k <= n; ++k) {
         w -= h.learning_rate * g / (std::abs(g) * std::sqrt(1 - std::pow(h.alpha, k)) + h.epsilon);
       }
       return w;
     }},
    {"adam", AdamForm},
    {"adamw", AdamForm},
    {"adamax", AdamForm},
    {"nadam",
     [](const Hyper& h, double w, double g, int n) {
       const auto momentum = [&h](int k) { return h.beta1 * (1 - 0.5 * std::pow(0.96, k * h.momentum_decay)); };
       double product = 1;
       for (int k = 1; k <= n; ++k) {
         product *= momentum(k);
         const double mean = g * (1 - std::pow(h.beta1, k));
         const double ahead =
             g * (1 - momentum(k)) / (1 - product) + mean * momentum(k + 1) / (1 - product * momentum(k + 1));
         w -= h.learning_rate * ahead / (std::abs(g) + h.epsilon);
       }
       return w;
     }},
    {"amsgrad", AdamForm},
    {"ftrl",
     [](const Hyper& h, double w, double g, int n) {
       // Without penalties it is gradient descent with a rate that falls.
       for (int k = 1; k <= n; ++k) w -= h.learning_rate * g / (h.beta + std::abs(g) * std::sqrt(k));
       return w;
     }},
    {"lars",
     [](const Hyper& h, double w, double g, int n) {
       double velocity = 0;
       for (int k = 1; k <= n; ++k) {
         velocity = h.momentum * velocity + h.learning_rate * h.trust * std::abs(w) * (g > 0 ? 1 : -1);
         w -= velocity;
       }
       return w;
     }},
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
        for (size_t i = 0; i < gradient.size(); ++i) {
          state.Update(*rule, h, gradient, i, i + 1);
          const double want = form->second(h, start[i], gradient[i], n);
          CHECK(state.values[i] == Approx(want).epsilon(2e-5).margin(2e-5));
        }
      }
    }
  }
}

TEST_CASE("penalties go into the gradient, which is then clipped") {
  for (const UpdateRule* rule : UpdateRules()) {
    DYNAMIC_SECTION(rule->name) {
      Hyper plain = TestHyper();
      Hyper penal = plain;
      if (!rule->decoupled) penal.weight_decay = 0.1f;
      if (!rule->own_l1) penal.l1 = 0.01f;
      penal.clip_value = 0.6f;
      std::vector<float> start = RandomFloats(33, 1);
      start[7] = 0;
      const std::vector<float> gradient = RandomFloats(33, 2);
      State with(*rule, start);
      State by_hand(*rule, start);
      for (uint64_t n = 1; n <= 5; ++n) {
        plain.update = penal.update = n;
        std::vector<float> sum = gradient;
        for (size_t i = 0; i < sum.size(); ++i) {
          const float w = by_hand.values[i];
          const float sign = w > 0 ? 1 : w < 0 ? -1 : 0;
          sum[i] = std::clamp(sum[i] + penal.weight_decay * w + penal.l1 * sign, -0.6f, 0.6f);
        }
        by_hand.Update(*rule, plain, sum);
        with.Update(*rule, penal, gradient);
        CHECK(with.values == by_hand.values);
      }
    }
  }
}

TEST_CASE("weight decay is added to the gradient, or it is decoupled") {
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
        by_hand.Update(*rule, plain, sum);
        with.Update(*rule, decayed, gradient);
        CHECK((with.values == by_hand.values) == !rule->decoupled);
      }
    }
  }
}

TEST_CASE("a gradient with its penalties may take the gradient's place") {
  Hyper h = TestHyper();
  h.weight_decay = 0.1f;
  h.clip_value = 0.5f;
  State apart(kSgd, RandomFloats(1003, 1));
  State in_place(kSgd, RandomFloats(1003, 1));
  in_place.scratch = RandomFloats(1003, 2);
  apart.Update(kSgd, h, RandomFloats(1003, 2));
  in_place.Update(kSgd, h, in_place.scratch);
  CHECK(apart.values == in_place.values);
}

TEST_CASE("adamw's decay shrinks parameters apart from the gradient") {
  Hyper h = TestHyper();
  h.weight_decay = 0.5f;
  State state(kAdamw, {2.0f, -3.0f});
  for (uint64_t n = 1; n <= 20; ++n) {
    h.update = n;
    state.Update(kAdamw, h, std::vector<float>(2));
  }
  const double kept = std::pow(1 - 0.05 * 0.5, 20);
  CHECK(state.values[0] == Approx(2 * kept));
  CHECK(state.values[1] == Approx(-3 * kept));
}

TEST_CASE("ftrl's l1 makes zeros, its l2 shrinks what is left") {
  Hyper h = TestHyper();
  h.l1 = 0.3f;
  h.l2 = 2.0f;
  State state(kFtrl, {0.0f, 0.0f, 0.0f});
  const std::vector<float> g = {0.01f, -0.5f, 0.5f};
  for (uint64_t n = 1; n <= 20; ++n) {
    h.update = n;
    state.Update(kFtrl, h, g);
    // From zero, as in the paper, as long as l1 keeps it there: z is the sum of the gradients.
    const double z = n * 0.01;
    if (z < 0.29) CHECK(state.values[0] == 0);
  }
  CHECK(state.values[1] > 0.01f);
  CHECK(state.values[1] == -state.values[2]);
  State free(kFtrl, {0.0f, 0.0f, 0.0f});
  h.l2 = 0;
  for (h.update = 1; h.update <= 20; ++h.update) free.Update(kFtrl, h, g);
  CHECK(free.values[1] > state.values[1]);
}

TEST_CASE("ftrl follows a rate that changes as gradient descent would") {
  Hyper h = TestHyper();
  State state(kFtrl, {1.5f});
  double want = 1.5;
  double squares = 0;
  for (int n = 1; n <= 30; ++n) {
    h.learning_rate = n < 10 ? 0.01f * n : 0.2f / n;
    const float g = n % 3 == 0 ? -1.0f : 0.7f;
    state.Update(kFtrl, h, std::vector<float>{g});
    squares += g * g;
    want -= h.learning_rate * g / (h.beta + std::sqrt(squares));
    CHECK(state.values[0] == Approx(want).epsilon(1e-5));
  }
}

TEST_CASE("lars's step has the length of the rate, the trust and the tensor's norm") {
  Hyper h = TestHyper();
  const auto norm = [](const std::vector<float>& x) {
    double sum = 0;
    for (const float value : x) sum += static_cast<double>(value) * value;
    return std::sqrt(sum);
  };
  const std::vector<float> start = RandomFloats(1003, 1);
  for (const float size : {1e-30f, 1.0f, 1e30f}) {
    State state(kLars, start);
    std::vector<float> gradient = RandomFloats(1003, 2);
    for (float& g : gradient) g *= size;
    state.Update(kLars, h, gradient);
    std::vector<float> step = start;
    for (size_t i = 0; i < step.size(); ++i) step[i] -= state.values[i];
    CHECK(norm(step) == Approx(0.05 * 0.01 * norm(start)).epsilon(1e-3));
  }
  // With decay, the formula by hand.
  h.weight_decay = 0.1f;
  State state(kLars, start);
  const std::vector<float> gradient = RandomFloats(1003, 2);
  state.Update(kLars, h, gradient);
  const double rate = 0.05 * 0.01 * norm(start) / (norm(gradient) + 0.1 * norm(start));
  for (size_t i = 0; i < start.size(); ++i) {
    CHECK(state.values[i] == Approx(start[i] - rate * (gradient[i] + 0.1 * start[i])).margin(1e-6));
  }
  // A tensor of zeros goes by the plain rate.
  State zeros(kLars, {0.0f, 0.0f});
  zeros.Update(kLars, TestHyper(), std::vector<float>{1.0f, -2.0f});
  CHECK(zeros.values[0] == Approx(-0.05));
  CHECK(zeros.values[1] == Approx(0.1));
}

TEST_CASE("a rate of zero changes no parameter and makes no infinity") {
  for (const UpdateRule* rule : UpdateRules()) {
    DYNAMIC_SECTION(rule->name) {
      Hyper h = TestHyper();
      h.weight_decay = 1e-3f;
      const std::vector<float> start = RandomFloats(33, 1);
      State state(*rule, start);
      h.learning_rate = 0;
      for (h.update = 1; h.update <= 3; ++h.update) state.Update(*rule, h, RandomFloats(33, 2));
      CHECK(state.values == start);
      for (const float rate : {1e-44f, 0.1f, 0.0f, 1e-30f, 0.1f}) {
        h.learning_rate = rate;
        state.Update(*rule, h, RandomFloats(33, 2 + h.update++));
        for (const float w : state.values) CHECK(std::abs(w) < 10);
      }
      CHECK(state.values != start);
    }
  }
}

TEST_CASE("where gradient and parameter are zero all stays zero") {
  for (const UpdateRule* rule : UpdateRules()) {
    DYNAMIC_SECTION(rule->name) {
      State state(*rule, std::vector<float>(5));
      Hyper h = TestHyper();
      h.weight_decay = h.l1 = 1e-3f;
      for (h.update = 1; h.update <= 3; ++h.update) state.Update(*rule, h, std::vector<float>(5));
      CHECK(state.values == std::vector<float>(5));
    }
  }
}

TEST_CASE("a lazy rule leaves alone what has a gradient of zero, from the first update on") {
  const Hyper h = TestHyper();
  for (const UpdateRule* rule : UpdateRules()) {
    if (!rule->lazy) continue;
    INFO(std::string(rule->name));
    State state(*rule, {0.5f, -2, 0, 1e-30f});
    for (int update = 0; update < 3; ++update) {
      const State before = state;
      state.Update(*rule, h, std::vector<float>(4));
      CHECK(state.values == before.values);
      CHECK(state.slots == before.slots);
      state.Update(*rule, h, std::vector<float>{1, -1, 3, 0.5f});
      CHECK(state.values != before.values);
    }
  }
}

TEST_CASE("an update by ranges gives the bits of the whole") {
  constexpr size_t kSize = 5003;
  for (const UpdateRule* rule : UpdateRules()) {
    if (rule->per_tensor) continue;
    DYNAMIC_SECTION(rule->name) {
      Hyper h = TestHyper();
      h.weight_decay = 1e-3f;
      h.l1 = 1e-4f;
      h.clip_value = 0.9f;
      State whole(*rule, RandomFloats(kSize, 3));
      State split(*rule, RandomFloats(kSize, 3));
      for (unsigned n = 1; n <= 4; ++n) {
        h.update = n;
        const std::vector<float> gradient = RandomFloats(kSize, 10 + n);
        whole.Update(*rule, h, gradient);
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
