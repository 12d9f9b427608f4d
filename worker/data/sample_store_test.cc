#include "worker/data/sample_store.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <limits>

namespace downpour::worker {
namespace {

TEST_CASE("rows stay where they were written, over many chunks") {
  for (const std::size_t sample_size : {1, 7, 784, 3000000}) {
    SampleStore store(FeatureType::kU8, sample_size, {});
    const std::size_t rows = sample_size > 1000 ? 5 : 20000;
    for (std::size_t row = 0; row < rows;) {
      const std::size_t added = std::min<std::size_t>(rows - row, 1 + row / 2);
      REQUIRE(store.Append(added).ok());
      for (std::size_t end = row + added; row < end;) {
        const RowStore::Run run = *store.AddFeatures(end - row);
        REQUIRE(run.rows >= 1);
        REQUIRE(run.rows <= end - row);
        for (std::size_t i = 0; i < run.rows; ++i, ++row) {
          std::memset(run.bytes + i * sample_size, static_cast<int>(row % 251), sample_size);
          store.mutable_labels()[row] = static_cast<std::int32_t>(row);
        }
      }
    }
    REQUIRE(store.size() == rows);
    CHECK(store.bytes() == rows * (sample_size + 4));
    bool same = true;
    for (std::size_t row = 0; row < rows; ++row) {
      same &= (*store.features().Read(row, {}))[0] == std::byte(row % 251);
      same &= (*store.features().Read(row, {}))[sample_size - 1] == std::byte(row % 251);
      same &= store.labels()[row] == static_cast<std::int32_t>(row);
    }
    CHECK(same);
  }
}

TEST_CASE("floats are four bytes") {
  SampleStore store(FeatureType::kF32, 10, {});
  CHECK(store.row_bytes() == 40);
  CHECK(store.size() == 0);
  CHECK(store.bytes() == 0);
}

TEST_CASE("a label is a class or a number, and a row may have a weight") {
  SampleStore store(FeatureType::kU8, 6, {.total_bytes = 100}, {.numbers = true, .weighted = true});
  REQUIRE(store.Append(3).ok());
  CHECK(store.labels().empty());
  CHECK(store.numbers().size() == 3);
  CHECK(store.weights().size() == 3);
  CHECK(store.bytes() == 3 * (6 + 4 + 4));
  SampleStore other(FeatureType::kU8, 6, {.total_bytes = 100});
  REQUIRE(other.Append(2).ok());
  CHECK_FALSE(store.Append(3, &other).ok());
  CHECK(store.Append(2, &other).ok());
}

TEST_CASE("the limit counts features and labels, and refuses whole appends") {
  SampleStore store(FeatureType::kU8, 6, {.total_bytes = 100});
  CHECK(store.Append(9).ok());
  const absl::Status status = store.Append(2);
  CHECK(status.code() == absl::StatusCode::kResourceExhausted);
  CHECK_THAT(std::string(status.message()),
             Catch::Contains("worker.feed_limit_bytes") && Catch::Contains("100"));
  CHECK(store.size() == 9);
  CHECK(store.Append(1).ok());
  CHECK(store.Append(std::numeric_limits<std::size_t>::max()).code() == absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace downpour::worker
