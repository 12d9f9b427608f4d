// Nets over sequences learn what cannot be learnt from any step by itself.
#include <google/protobuf/text_format.h>

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "kernels/optimizer/update_rule.h"
#include "worker/net.h"

namespace downpour::worker {
namespace {

constexpr int kBatch = 32;
constexpr int kSteps = 6;
constexpr int kTokens = 5;

// Tokens, of which the first is there again later (class 1) or not (class 0). An id says which token it is, and where.
class Sequences {
 public:
  explicit Sequences(int seed) : random_(seed) {}

  Batch Next() {
    for (int n = 0; n < kBatch; ++n) {
      std::vector<int> tokens(kSteps);
      tokens[0] = Below(kTokens);
      for (int t = 1; t < kSteps; ++t) tokens[t] = (tokens[0] + 1 + Below(kTokens - 1)) % kTokens;
      labels_[n] = Below(2);
      if (labels_[n] == 1) tokens[1 + Below(kSteps - 1)] = tokens[0];
      for (int t = 0; t < kSteps; ++t) ids_[n * kSteps + t] = static_cast<float>(t * kTokens + tokens[t]);
    }
    return {.size = kBatch, .features = ids_, .targets = {.classes = labels_}};
  }

 private:
  int Below(int bound) { return static_cast<int>(random_() % bound); }

  std::mt19937 random_;
  std::vector<float> ids_ = std::vector<float>(kBatch * kSteps);
  std::vector<std::int32_t> labels_ = std::vector<std::int32_t>(kBatch);
};

// On sequences that it was not trained on.
double AccuracyAfter(int steps, const std::string& layers) {
  Job job;
  REQUIRE(google::protobuf::TextFormat::ParseFromString(
      R"(net { name: "ids" type: "embedding" vocabulary: 30 outputs: 16 })" + layers +
          R"(net { name: "scores" type: "inner_product" outputs: 2 } net { name: "loss" type: "softmax_loss" })",
      &job));
  static_assert(kSteps * kTokens == 30);
  const auto device = *kernels::MakeDevice("cpu", {});
  const auto net = *Net::Create(job.net(), {kSteps}, kBatch, *device);
  const std::size_t count = net->parameter_count();
  std::vector<float> parameters(count), gradient(count), scratch(count), mean(count), squares(count);
  net->Initialize(1, parameters);
  float* const slots[] = {mean.data(), squares.data()};
  kernels::Hyper hyper{.learning_rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f};
  Sequences training(1), held_out(2);
  for (; hyper.update <= static_cast<std::uint64_t>(steps); ++hyper.update) {
    net->ForwardBackward(parameters, training.Next(), gradient);
    kernels::ApplyUpdate(kernels::kAdam, hyper, parameters, slots, gradient, scratch);
  }
  Evaluation sum;
  for (int i = 0; i < 20; ++i) sum.Add(net->Evaluate(parameters, held_out.Next()));
  return sum.accuracy();
}

const std::string kStepByStep = R"(
  net { name: "hidden" type: "inner_product" outputs: 16 per_step: true } net { name: "relu" type: "relu" }
  net { name: "step" type: "inner_product" outputs: 1 per_step: true })";

TEST_CASE("an LSTM learns whether the first token comes again") {
  CHECK(AccuracyAfter(600, R"(net { name: "lstm" type: "lstm" outputs: 24 last: true })") > 0.95);
}

TEST_CASE("a GRU learns whether the first token comes again") {
  CHECK(AccuracyAfter(600, R"(net { name: "gru" type: "gru" outputs: 24 last: true })") > 0.95);
}

TEST_CASE("attention learns whether the first token comes again, which steps by themselves do not show") {
  const std::string attention = R"(net { name: "attention" type: "self_attention" heads: 2 }
                                   net { name: "sum" type: "eltwise" inputs: "ids" inputs: "attention" })";
  CHECK(AccuracyAfter(600, attention + kStepByStep) > 0.95);
  CHECK(AccuracyAfter(600, kStepByStep) < 0.75);
}

}  // namespace
}  // namespace downpour::worker
