#include "worker/initial_values.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/device.h"
#include "proto/job_config.h"

namespace downpour::worker {
namespace {

absl::Status Initialize(const std::string& filler) {
  const auto job = ParseJob(absl::StrCat(R"(name: fillers
net:
  - {name: ip.first, type: inner_product, outputs: 8}
  - {name: ip, type: inner_product, outputs: 50, )",
                                         filler, R"(}
  - {name: loss, type: softmax_loss}
data: {shape: [40]}
)"),
                            "fillers.yaml");
  INFO(job.status());
  REQUIRE(job.ok());
  const auto device = kernels::MakeDevice("reference", {.threads = 1});
  REQUIRE(device.ok());
  const auto net = Net::Create(job->net(), {40}, 1, **device);
  REQUIRE(net.ok());
  std::vector<float> values((*net)->parameter_count());
  return InitializeFinite(job->net(), **net, 1, values);
}

TEST_CASE("initial values that a float can't hold are refused by tensor and filler") {
  CHECK(Initialize("filler: gaussian, filler_std: 1").ok());
  CHECK(Initialize("filler: constant, filler_value: 3e38").ok());
  const absl::Status gaussian = Initialize("filler: gaussian, filler_std: 3e38");
  CHECK(gaussian.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(gaussian.message()), Catch::StartsWith("the initial value of ip.weight["));
  CHECK_THAT(std::string(gaussian.message()), Catch::Contains("the layer's filler is gaussian, filler_std 3e+38"));
  CHECK_THAT(std::string(Initialize("filler: uniform, filler_min: -3e38, filler_max: 3e38").message()),
             Catch::Contains("uniform, filler_min -3e+38, filler_max 3e+38"));
}

}  // namespace
}  // namespace downpour::worker
