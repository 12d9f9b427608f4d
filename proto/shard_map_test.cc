#include "proto/shard_map.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <vector>

#include "proto/frame.h"

namespace downpour {
namespace {

TEST_CASE("parts are even, small enough, aligned, and every shard has as many") {
  for (const uint64_t elements : {1, 15, 16, 17, 431080, 431104, 10000000}) {
    for (const uint32_t servers : {1, 2, 3}) {
      for (const uint32_t shards : {1, 2, 5}) {
        for (const uint64_t part_bytes : {4096, 1 << 16, 4 << 20}) {
          CAPTURE(elements, servers, shards, part_bytes);
          const ShardMap map = MakeShardMap(elements, servers, shards, part_bytes);
          REQUIRE(ValidateShardMap(map, servers).ok());
          std::map<std::pair<uint32_t, uint32_t>, int> owned;
          uint64_t least = UINT64_MAX, most = 0;
          for (const auto& part : map.tables(0).parts()) {
            const uint64_t size = part.end() - part.begin();
            REQUIRE(size * sizeof(float) <= part_bytes);
            REQUIRE(part.begin() % 16 == 0);
            REQUIRE(part.shard() < shards);
            if (part.end() < elements) least = std::min(least, size);
            most = std::max(most, size);
            ++owned[{part.server(), part.shard()}];
          }
          if (least != UINT64_MAX) CHECK(most - least <= 16);
          if (elements >= 16 * servers * shards) {
            CHECK(owned.size() == servers * shards);
            for (const auto& [owner, parts] : owned) CHECK(parts == owned.begin()->second);
          }
        }
      }
    }
  }
}

TEST_CASE("parts of whole tensors cut none, and shards are as even as tensors allow") {
  const std::vector<std::vector<uint64_t>> kNets = {
      {16}, {512, 32, 25008, 64, 400000, 512, 5008, 16}, std::vector<uint64_t>(40, 1000), {1, 1, 1}, {5, 100000, 7, 3}};
  for (const std::vector<uint64_t>& sizes : kNets) {
    std::vector<uint64_t> begins;
    uint64_t elements = 0, largest = 0;
    for (const uint64_t size : sizes) {
      begins.push_back(elements);
      elements += size;
      largest = std::max(largest, size);
    }
    for (const uint32_t servers : {1, 2, 3}) {
      for (const uint32_t shards : {1, 2, 5}) {
        for (const uint64_t part_bytes : {4096, 1 << 16, 4 << 20}) {
          CAPTURE(elements, sizes.size(), servers, shards, part_bytes);
          const ShardMap map = MakeShardMap(elements, servers, shards, part_bytes, begins);
          REQUIRE(ValidateShardMap(map, servers).ok());
          std::vector<uint64_t> load(servers * shards);
          uint64_t largest_part = 0;
          for (const auto& part : map.tables(0).parts()) {
            REQUIRE(std::binary_search(begins.begin(), begins.end(), part.begin()));
            const auto inside = std::upper_bound(begins.begin(), begins.end(), part.begin());
            const bool one = inside == begins.end() || *inside >= part.end();
            const uint64_t size = part.end() - part.begin();
            REQUIRE((one || size * sizeof(float) <= part_bytes));
            REQUIRE(part.shard() < shards);
            load[part.server() * shards + part.shard()] += size;
            largest_part = std::max(largest_part, size);
          }
          const auto [least, most] = std::minmax_element(load.begin(), load.end());
          CHECK(*most - *least <= largest_part);
          CHECK(*most <= std::max(largest, 2 * elements / load.size() + 1));
        }
      }
    }
  }
}

TEST_CASE("messages have room for a tensor where parts are tensors") {
  Job job;
  job.mutable_servers()->set_part_bytes(4096);
  job.mutable_optimizer()->set_name("adam");
  CHECK(LargestPartBytes(job) == 4096);
  job.mutable_optimizer()->set_name("lars");
  job.mutable_sync()->set_mode("bsp");
  CHECK(LargestPartBytes(job) == kMaxPartBytes);
  // Where workers step by themselves, servers apply no rule.
  job.mutable_sync()->set_mode("local_sgd");
  CHECK(LargestPartBytes(job) == 4096);
}

TEST_CASE("a table without elements has no parts") {
  const ShardMap map = MakeShardMap(0, 2, 2, 4096);
  CHECK(map.tables(0).parts_size() == 0);
  CHECK(ValidateShardMap(map, 2).ok());
}

TEST_CASE("a map from a peer that has gaps, overlaps or strange owners is refused") {
  const ShardMap good = MakeShardMap(1000, 2, 2, 4096);
  const auto refuses = [&good](auto change) {
    ShardMap map = good;
    change(map.mutable_tables(0));
    return !ValidateShardMap(map, 2).ok();
  };
  CHECK(refuses([](auto* t) { t->mutable_parts(1)->set_begin(0); }));
  CHECK(refuses([](auto* t) { t->mutable_parts(1)->set_end(t->parts(1).begin()); }));
  CHECK(refuses([](auto* t) { t->mutable_parts(0)->set_begin(16); }));
  CHECK(refuses([](auto* t) { t->mutable_parts(2)->set_server(2); }));
  CHECK(refuses([](auto* t) { t->mutable_parts(3)->set_end(1001); }));
  CHECK(refuses([](auto* t) { t->mutable_parts()->RemoveLast(); }));
  CHECK(refuses([](auto* t) { t->set_elements(UINT64_MAX); }));
}

}  // namespace
}  // namespace downpour
