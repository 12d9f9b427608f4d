#include "tools/ps_ctl/net_table.h"

#include <catch2/catch.hpp>

#include "proto/job_config.h"

namespace downpour::ctl {
namespace {

constexpr char kJob[] =
    "name: test\n"
    "sync: {mode: downpour}\n"
    "data: {shape: [1, 8, 8]}\n"
    "net:\n"
    "  - {name: conv1, type: convolution, outputs: 100, kernel: 3, pad: 1}\n"
    "  - {name: relu1, type: relu}\n"
    "  - {name: sum, type: eltwise, inputs: [conv1, relu1]}\n"
    "  - {name: ip1, type: inner_product, outputs: 3}\n"
    "  - {name: loss, type: softmax_loss}\n";

NetTable Table() {
  const auto job = ParseJob(kJob, "test");
  if (!job.ok()) FAIL(job.status().message());
  const auto outline = worker::OutlineNet(job->net(), {1, 8, 8});
  if (!outline.ok()) FAIL(outline.status().message());
  return NetTable(*outline, 64);
}

TEST_CASE("a row for each layer, then what they come to") {
  CHECK(Table().Text() ==
        "layer  type           input              output   parameters    MACs   memory\n"
        "conv1  convolution    1x8x8              100x8x8       1,000  57,600  1.6 MiB\n"
        "relu1  relu           100x8x8            100x8x8           -       -  1.6 MiB\n"
        "sum    eltwise        100x8x8 + 100x8x8  100x8x8           -       -  1.6 MiB\n"
        "ip1    inner_product  100x8x8            3            19,203  19,200    768 B\n"
        "loss   softmax_loss   3                  -                 -       -        -\n"
        "total                                                 20,203  76,800  4.7 MiB\n"
        "\n"
        "MACs: multiplications, for one sample.\n"
        "Memory: for a batch of 64, the samples' own in the total. Training takes 3.1 MiB more for gradients\n"
        "of values, and 157.8 KiB for parameters and their gradients.\n");
}

TEST_CASE("the same for programs") {
  const auto json = Table().Json();
  CHECK(json["batch"] == 64);
  REQUIRE(json["layers"].size() == 5);
  CHECK(json["layers"][2]["inputs"] == nlohmann::json({"conv1", "relu1"}));
  CHECK(json["layers"][0]["inputs"] == nlohmann::json({"data"}));
  CHECK(json["layers"][0]["output_shape"] == nlohmann::json({100, 8, 8}));
  CHECK(json["layers"][4]["output_shape"].is_null());
  CHECK(json["layers"][3]["tensors"] ==
        nlohmann::json::parse(R"([{"name": "ip1.weight", "shape": [3, 6400]}, {"name": "ip1.bias", "shape": [3]}])"));
  CHECK(json["total"]["parameters"] == 20203);
  CHECK(json["total"]["macs"] == 76800);
  CHECK(json["total"]["value_bytes"] == 4 * 64 * (64 + 3 * 6400 + 3));
}

}  // namespace
}  // namespace downpour::ctl
