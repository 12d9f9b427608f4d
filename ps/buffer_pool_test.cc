#include "ps/buffer_pool.h"

#include <catch2/catch.hpp>
#include <cstdint>
#include <optional>

namespace downpour::ps {
namespace {

TEST_CASE("a buffer is aligned and used again") {
  BufferPool pool(1000, 2);
  auto first = pool.Take();
  REQUIRE(first.values.size() == 1000);
  CHECK(reinterpret_cast<uintptr_t>(first.values.data()) % 64 == 0);
  float* const at = first.values.data();
  auto second = pool.Take();
  CHECK(second.values.data() != at);
  first.owner.reset();
  CHECK(pool.Take().values.data() == at);
}

TEST_CASE("a buffer outlives its pool") {
  std::optional<BufferPool> pool(std::in_place, 16, 2);
  auto buffer = pool->Take();
  pool.reset();
  buffer.values[15] = 1;
  CHECK(buffer.values[15] == 1);
}

}  // namespace
}  // namespace downpour::ps
