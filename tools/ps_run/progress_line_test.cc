#include "tools/ps_run/progress_line.h"

#include <limits>

#include <catch2/catch.hpp>

namespace downpour::run {
namespace {

TEST_CASE("the progress line says epoch, rate, loss, staleness, accuracy and time left") {
  const Point point{.epoch = 3.21, .images_per_second = 5210.4, .loss = 0.3124, .staleness = 1.94};
  CHECK(FormatProgress({.point = point, .epochs = 8, .accuracy = 0.891, .seconds_left = 42}) ==
        "epoch 3.2 of 8   5,210 images/s   loss 0.312   staleness 1.9   accuracy 89.1 %   0:42 left");
  CHECK(FormatProgress({.point = point, .epochs = 8, .accuracy = 0.891, .top_k = 5}) ==
        "epoch 3.2 of 8   5,210 images/s   loss 0.312   staleness 1.9   top-5 accuracy 89.1 %");
  CHECK(FormatProgress({.point = point, .epochs = 8}) ==
        "epoch 3.2 of 8   5,210 images/s   loss 0.312   staleness 1.9");
  CHECK_THAT(FormatProgress({.point = point, .epochs = 5.76}), Catch::StartsWith("epoch 3.2 of 5.8   "));
  CHECK_THAT(FormatProgress({.point = point, .epochs = 0.064, .step = 1200, .max_steps = 3000}),
             Catch::StartsWith("step 1,200 of 3,000   "));
}

TEST_CASE("a loss is a short number, whatever its size") {
  CHECK(FormatLoss(0.31237) == "0.312");
  CHECK(FormatLoss(3.4e38) == "3.4e+38");
  CHECK(FormatLoss(std::numeric_limits<double>::quiet_NaN()) == "nan");
  CHECK(FormatLoss(-std::numeric_limits<double>::quiet_NaN()) == "nan");
}

TEST_CASE("durations and counts read as people write them") {
  CHECK(FormatDuration(0) == "0:00");
  CHECK(FormatDuration(83.4) == "1:23");
  CHECK(FormatDuration(3700) == "1:01:40");
  CHECK(FormatDuration(-3) == "0:00");
  CHECK(FormatCount(0) == "0");
  CHECK(FormatCount(999) == "999");
  CHECK(FormatCount(1000) == "1,000");
  CHECK(FormatCount(1234567) == "1,234,567");
}

}  // namespace
}  // namespace downpour::run
