#include "kernels/vector_ops.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <vector>

namespace downpour::kernels {
namespace {

std::vector<float> Ramp(std::size_t size) {
  std::vector<float> x(size);
  for (std::size_t i = 0; i < size; ++i) x[i] = 0.25f * static_cast<float>(i) - 3;
  return x;
}

TEST_CASE("elementwise loops at every length around a vector's") {
  for (std::size_t size = 0; size < 70; ++size) {
    const std::vector<float> x = Ramp(size);
    std::vector<float> y(size, 1), scaled = x, copied(size), centred(size), less(size);
    Axpy(2, x, y);
    Scale(3, scaled);
    ScaleTo(x, 0.5f, copied);
    CenterTo(x, y, 0.5f, centred);
    Subtract(x, y, less);
    float sum = 0;
    for (std::size_t i = 0; i < size; ++i) {
      REQUIRE(y[i] == 1 + 2 * x[i]);
      REQUIRE(scaled[i] == 3 * x[i]);
      REQUIRE(copied[i] == 0.5f * x[i]);
      REQUIRE(centred[i] == 0.5f * (x[i] - y[i]));
      REQUIRE(less[i] == x[i] - y[i]);
      sum += x[i];
    }
    REQUIRE(Sum(x) == Approx(sum));
    Zero(y);
    REQUIRE(y == std::vector<float>(size, 0));
  }
}

TEST_CASE("bytes and doubles become floats") {
  std::vector<std::uint8_t> bytes(256);
  for (int i = 0; i < 256; ++i) bytes[i] = static_cast<std::uint8_t>(i);
  std::vector<float> y(256);
  ScaleTo(bytes, 0.00390625f, y);
  for (int i = 0; i < 256; ++i) REQUIRE(y[i] == static_cast<float>(i) / 256);
  CenterTo(bytes, std::vector<float>(256, 3), 0.5f, y);
  for (int i = 0; i < 256; ++i) REQUIRE(y[i] == 0.5f * static_cast<float>(i - 3));

  const std::vector<double> doubles = {0.1, -2, 1e300};
  std::vector<float> floats(3);
  Convert(doubles, floats);
  CHECK(floats[0] == 0.1f);
  CHECK(floats[1] == -2);
  CHECK(std::isinf(floats[2]));
}

TEST_CASE("the first value that is not finite is found, wherever it is") {
  std::vector<float> x(5000, std::numeric_limits<float>::max());
  CHECK(AllFinite(x));
  CHECK(AllFinite({}));
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    for (const std::size_t at : {0, 1, 1023, 1024, 4321, 4999}) {
      std::vector<float> y = x;
      y[at] = bad;
      y.back() = bad;
      CHECK(FirstNonFinite(y) == at);
      CHECK_FALSE(AllFinite(y));
    }
  }
}

}  // namespace
}  // namespace downpour::kernels
