#include "worker/net_outline.h"

#include <catch2/catch.hpp>

#include "kernels/device.h"
#include "proto/job_config.h"

namespace downpour::worker {
namespace {

Job MakeJob(const std::string& layers) {
  const auto job = ParseJob("name: test\nsync: {mode: downpour}\ndata: {shape: [1, 8, 8]}\nnet:\n" + layers, "test");
  if (!job.ok()) FAIL(job.status().message());
  return *job;
}

NetOutline Outline(const Job& job) {
  auto outline = OutlineNet(job.net(), {job.data().shape().begin(), job.data().shape().end()});
  if (!outline.ok()) FAIL(outline.status().message());
  return *std::move(outline);
}

constexpr char kLayers[] =
    "  - {name: conv, type: convolution, outputs: 4, kernel: 3, pad: 1}\n"
    "  - {name: bn, type: batch_norm}\n"
    "  - {name: pool, type: pooling, kernel: 2, stride: 2}\n"
    "  - {name: ip, type: inner_product, outputs: 3, inputs: [pool]}\n";
constexpr char kLoss[] = "  - {name: loss, type: softmax_loss}\n";

TEST_CASE("an outline has the shapes and parameters of the net") {
  const Job job = MakeJob(std::string(kLayers) + kLoss);
  const NetOutline outline = Outline(job);
  const auto device = kernels::MakeDevice("reference", {});
  const auto net = Net::Create(job.net(), {1, 8, 8}, 1, **device);
  REQUIRE(net.ok());
  REQUIRE(outline.parameters.size() == (*net)->parameters().size());
  for (size_t i = 0; i < outline.parameters.size(); ++i) {
    CHECK(outline.parameters[i].name == (*net)->parameters()[i].name);
    CHECK(outline.parameters[i].shape == (*net)->parameters()[i].shape);
    CHECK(outline.parameters[i].average == (*net)->parameters()[i].average);
  }
  REQUIRE(outline.layers.size() == (*net)->outputs().size() + 1);
  for (size_t i = 0; i < (*net)->outputs().size(); ++i) {
    CHECK(outline.layers[i].name == (*net)->outputs()[i].layer);
    CHECK(outline.layers[i].output == (*net)->outputs()[i].shape);
  }
  CHECK(outline.layers.back().loss);
  CHECK(outline.layers[3].input_shapes == std::vector<kernels::Shape>{{4, 4, 4}});
  CHECK(outline.parameter_count == 4 * 9 + 4 + 4 * 4 + 3 * 64 + 3);
}

TEST_CASE("a net needs no loss to have an outline") {
  const NetOutline outline = Outline(MakeJob(kLayers));
  CHECK(outline.layers.size() == 4);
  CHECK(!outline.layers.back().loss);
}

TEST_CASE("each weight counts once for each place of the output") {
  const NetOutline outline = Outline(MakeJob(kLayers));
  CHECK(outline.layers[0].multiply_accumulates == 4 * 9 * 64);
  CHECK(outline.layers[1].multiply_accumulates == 0);
  CHECK(outline.layers[2].multiply_accumulates == 0);
  CHECK(outline.layers[3].multiply_accumulates == 3 * 64);
}

TEST_CASE("a transposed convolution spreads each value of its input by a filter; a normalisation has none") {
  const NetOutline outline = Outline(MakeJob(
      "  - {name: up, type: transposed_convolution, outputs: 3, kernel: 4, stride: 2, pad: 1}\n"
      "  - {name: norm, type: layer_norm}\n"));
  CHECK(outline.layers[0].multiply_accumulates == 3 * 16 * 64);
  CHECK(outline.layers[1].multiply_accumulates == 0);
}

TEST_CASE("a sequence costs what its steps do") {
  const auto cost = [](const std::string& shape, const std::string& layer) {
    const Job job = MakeJob("  - {name: r, type: reshape, shape: " + shape + "}\n  - {name: l, type: " + layer + "}\n");
    return Outline(job).layers.back().multiply_accumulates;
  };
  CHECK(cost("[64]", "embedding, vocabulary: 9, outputs: 4") == 0);
  CHECK(cost("[8, 1, 8]", "inner_product, outputs: 4, per_step: true") == 8 * 8 * 4);
  CHECK(cost("[8, 1, 8]", "self_attention, heads: 2") == 8 * 4 * 8 * 8 + 2 * 8 * 8 * 8);
  CHECK(cost("[8, 1, 8]", "lstm, outputs: 4, last: true") == 8 * 4 * 4 * (8 + 4));
  CHECK(cost("[8, 1, 8]", "gru, outputs: 4") == 8 * 3 * 4 * (8 + 4));
}

TEST_CASE("losses come last among the stages of the plan") {
  const Job job = MakeJob(
      "  - {name: ip1, type: inner_product, outputs: 3}\n"
      "  - {name: early, type: softmax_loss, inputs: [ip1]}\n"
      "  - {name: ip2, type: inner_product, outputs: 3, inputs: [ip1]}\n"
      "  - {name: loss, type: softmax_loss}\n");
  const auto stages = PlannedStages(Outline(job));
  REQUIRE(stages.size() == 4);
  CHECK(stages[1].inputs == std::vector<int>{0});
  CHECK(stages[1].values == 3);
  CHECK(stages[2].inputs == std::vector<int>{0});
  CHECK(stages[2].values == 0);
  CHECK(stages[3].inputs == std::vector<int>{1});
}

TEST_CASE("what would be too large is refused before it is there") {
  const auto layers = MakeJob("  - {name: huge, type: convolution, outputs: 16777216, kernel: 1}\n").net();
  const auto outline = OutlineNet(layers, {1, 8, 8});
  REQUIRE(!outline.ok());
  CHECK_THAT(std::string(outline.status().message()), Catch::Contains("layer huge (convolution) gives 16777216x8x8"));
}

}  // namespace
}  // namespace downpour::worker
