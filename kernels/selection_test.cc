#include "kernels/selection.h"

#include <bit>
#include <catch2/catch.hpp>
#include <random>
#include <vector>

namespace downpour::kernels {
namespace {

std::vector<float> Some(std::size_t size, unsigned one_in, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> x(size);
  for (float& value : x) {
    if (random() % one_in == 0) value = static_cast<float>(static_cast<int>(random() % 200) - 100);
  }
  return x;
}

bool IsAtLeast(float limit, float x) { return x >= limit || x <= -limit; }

TEST_CASE("masks and selections say what a loop says, whatever the length") {
  for (const std::size_t size : {0, 1, 15, 16, 17, 63, 64, 65, 1000, 4096, 4099}) {
    for (const unsigned one_in : {1u, 3u, 50u}) {
      for (const float limit : {1.0f, 50.0f, 1000.0f}) {
        CAPTURE(size, one_in, limit);
        const std::vector<float> x = Some(size, one_in, static_cast<unsigned>(size) + one_in);
        const auto magnitude = std::bit_cast<std::uint32_t>(limit);
        std::vector<std::uint64_t> masks((size + kMaskBits - 1) / kMaskBits, ~std::uint64_t{0});
        MasksAtLeast(magnitude, x, masks);
        std::vector<std::uint32_t> places(size + kSelectionSlack);
        std::vector<float> values(size + kSelectionSlack);
        const std::size_t count = SelectAtLeast(magnitude, x, 7, places, values);
        std::size_t found = 0;
        for (std::size_t i = 0; i < size; ++i) {
          const bool taken = IsAtLeast(limit, x[i]);
          REQUIRE((masks[i / kMaskBits] >> i % kMaskBits & 1) == taken);
          if (!taken) continue;
          REQUIRE(places[found] == 7 + i);
          REQUIRE(values[found] == x[i]);
          ++found;
        }
        CHECK(count == found);
        if (size % kMaskBits != 0) CHECK(masks.back() >> size % kMaskBits == 0);
      }
    }
  }
}

TEST_CASE("of least magnitude is all that is not zero") {
  std::vector<std::uint32_t> places(4 + kSelectionSlack);
  std::vector<float> values(4 + kSelectionSlack);
  CHECK(SelectAtLeast(1, std::vector<float>{0, -0.0f, 1e-45f, -1}, 0, places, values) == 2);
  CHECK(places[0] == 2);
  CHECK(places[1] == 3);
}

TEST_CASE("what is gathered and scattered goes where it was") {
  const std::vector<float> x = Some(5000, 1, 3);
  std::vector<std::uint32_t> places;
  for (std::uint32_t i = 0; i < x.size(); i += 1 + i % 7) places.push_back(i);
  std::vector<float> taken(places.size()), back(x.size(), 7);
  Gather(x, places, taken);
  for (std::size_t i = 0; i < places.size(); ++i) REQUIRE(taken[i] == x[places[i]]);
  Scatter(taken, places, back);
  std::size_t next = 0;
  for (std::uint32_t i = 0; i < x.size(); ++i) {
    const bool there = next < places.size() && places[next] == i;
    REQUIRE(back[i] == (there ? x[i] : 7));
    next += there;
  }
}

}  // namespace
}  // namespace downpour::kernels
