#include "worker/data/row_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

namespace downpour::worker {
namespace {

using Catch::Contains;

constexpr std::size_t kRowBytes = 100'000;  // 41 rows a chunk
constexpr std::size_t kChunk = std::size_t{4} << 20;

std::string Folder() { return std::filesystem::temp_directory_path().string(); }

std::byte ByteOf(std::size_t row, std::size_t at) { return static_cast<std::byte>((row * 7 + at % 1009) % 251); }

// Rows of bytes that tell them apart, added a few at a time.
RowStore Filled(std::size_t rows, const StoreLimits& limits, std::uint64_t beside_a_row = 0, std::size_t row_bytes = kRowBytes) {
  RowStore store(row_bytes, limits);
  while (store.size() < rows) {
    const std::size_t first = store.size();
    const auto run = store.Add(std::min<std::size_t>(rows - first, 1 + first % 5), first * beside_a_row);
    INFO(run.status().message());
    REQUIRE(run.ok());
    REQUIRE(run->rows >= 1);
    for (std::size_t i = 0; i < run->rows; ++i) {
      for (std::size_t at = 0; at < row_bytes; ++at) run->bytes[i * row_bytes + at] = ByteOf(first + i, at);
    }
    CHECK(store.memory_bytes() <= std::max<std::uint64_t>(limits.memory_bytes, std::max(kChunk, row_bytes + kChunk / 2)));
  }
  return store;
}

bool HasAll(const RowStore& store, std::size_t rows) {
  std::vector<std::byte> scratch(store.row_bytes());
  for (std::size_t row = rows; row-- > 0;) {
    const auto bytes = store.Read(row, scratch);
    if (!bytes.ok()) return false;
    for (std::size_t at = 0; at < store.row_bytes(); ++at) {
      if ((*bytes)[at] != ByteOf(row, at)) return false;
    }
  }
  return true;
}

TEST_CASE("rows are the same wherever they are") {
  constexpr std::size_t kRows = 300;
  const RowStore in_memory = Filled(kRows, {});
  CHECK(HasAll(in_memory, kRows));
  CHECK(in_memory.spooled_bytes() == 0);

  const RowStore mixed = Filled(kRows, {.memory_bytes = 3 * kChunk, .spool_dir = Folder()});
  CHECK(HasAll(mixed, kRows));
  CHECK(mixed.memory_bytes() == 3 * kChunk);
  CHECK(mixed.spooled_bytes() == 5 * 41 * kRowBytes);  // of 8 chunks

  const RowStore spooled = Filled(kRows, {.memory_bytes = 1, .spool_dir = Folder()});
  CHECK(HasAll(spooled, kRows));
  CHECK(spooled.memory_bytes() == kChunk);  // the one that was filled last
  CHECK(spooled.spooled_bytes() == 7 * 41 * kRowBytes);
}

TEST_CASE("what the owner keeps beside the rows takes their place in memory") {
  const RowStore store = Filled(300, {.memory_bytes = 4 * kChunk, .spool_dir = Folder()}, 3 * kChunk / 300);
  CHECK(store.memory_bytes() == kChunk);
  CHECK(HasAll(store, 300));
}

TEST_CASE("a row larger than a chunk is a chunk") {
  constexpr std::size_t kLarge = 3 * kChunk + 5;
  const RowStore store = Filled(3, {.memory_bytes = 1, .spool_dir = Folder()}, 0, kLarge);
  CHECK(store.spooled_bytes() == 2 * kLarge);
  CHECK(HasAll(store, 3));
}

TEST_CASE("the spool file has no name") {
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / "downpour-row-store-test";
  std::filesystem::create_directory(folder);
  {
    const RowStore store = Filled(100, {.memory_bytes = 1, .spool_dir = folder});
    CHECK(store.spooled_bytes() > 0);
    CHECK(std::filesystem::is_empty(folder));
  }
  std::filesystem::remove(folder);
}

TEST_CASE("a folder that is not there is named, once it is needed") {
  const StoreLimits limits{.memory_bytes = 1, .spool_dir = "/no/such/folder"};
  RowStore store = Filled(41, limits);
  const auto run = store.Add(1, 0);
  CHECK(run.status().code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(std::string(run.status().message()), Contains("/no/such/folder") && Contains("worker.spool_dir") &&
                                                      Contains("worker.feed_memory_bytes"));
}

TEST_CASE("a full disk says so") {
  SpoolFile full(open("/dev/full", O_RDWR), "/the/folder");
  const std::array<std::byte, 10> bytes{};
  const absl::Status status = full.Append(bytes);
  CHECK(status.code() == absl::StatusCode::kResourceExhausted);
  CHECK_THAT(std::string(status.message()), Contains("/the/folder") && Contains("No space left"));
}

TEST_CASE("what is not in the file is no row") {
  auto file = SpoolFile::Create(Folder());
  REQUIRE(file.ok());
  std::array<std::byte, 10> bytes{};
  REQUIRE(file->Append(bytes).ok());
  CHECK(file->Read(0, bytes).ok());
  CHECK(file->Read(1, bytes).code() == absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace downpour::worker
