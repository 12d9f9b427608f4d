#include "proto/shard_map.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/optimizer/update_rule.h"
#include "proto/frame.h"
#include "proto/hyper.h"

namespace downpour {
namespace {

constexpr uint64_t kAlignment = 16;  // floats: one cache line
constexpr int kMaxParts = 1 << 20;

uint64_t DivideUp(uint64_t a, uint64_t b) { return a / b + (a % b != 0); }

}  // namespace

ShardMap MakeShardMap(uint64_t elements, uint32_t servers, uint32_t shards_per_server, uint64_t part_bytes) {
  const uint64_t shards = uint64_t{servers} * shards_per_server;
  const uint64_t lines = DivideUp(elements, kAlignment);
  const uint64_t lines_in_part = std::max<uint64_t>(1, part_bytes / sizeof(float) / kAlignment);
  // A multiple of the shards, so that each has the same number.
  uint64_t parts = DivideUp(std::max(shards, DivideUp(lines, lines_in_part)), shards) * shards;
  parts = std::min(parts, lines);

  ShardMap map;
  map.set_version(1);
  ShardMap::Table* table = map.add_tables();
  table->set_elements(elements);
  uint64_t begin = 0;
  for (uint64_t i = 0; i < parts; ++i) {
    ShardMap::Part* part = table->add_parts();
    const uint64_t end = std::min(elements, lines * (i + 1) / parts * kAlignment);
    part->set_begin(begin);
    part->set_end(end);
    part->set_server(i % servers);
    part->set_shard(i / servers % shards_per_server);
    begin = end;
  }
  return map;
}

void DealParts(uint32_t servers, uint32_t shards_per_server, ShardMap::Table* table) {
  const auto size = [table](int i) { return table->parts(i).end() - table->parts(i).begin(); };
  std::vector<int> order(table->parts_size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&size](int a, int b) { return size(a) > size(b); });
  std::vector<uint64_t> load(uint64_t{servers} * shards_per_server);
  for (const int i : order) {
    const uint64_t owner = std::min_element(load.begin(), load.end()) - load.begin();
    load[owner] += size(i);
    table->mutable_parts(i)->set_server(owner % servers);
    table->mutable_parts(i)->set_shard(owner / servers);
  }
}

ShardMap MakeShardMap(uint64_t elements, uint32_t servers, uint32_t shards_per_server, uint64_t part_bytes,
                      std::span<const uint64_t> tensors) {
  const uint64_t shards = uint64_t{servers} * shards_per_server;
  const uint64_t most = std::min(part_bytes / sizeof(float), DivideUp(elements, shards));
  ShardMap map;
  map.set_version(1);
  ShardMap::Table* table = map.add_tables();
  table->set_elements(elements);
  for (size_t i = 0; i < tensors.size(); ++i) {
    const uint64_t end = i + 1 < tensors.size() ? tensors[i + 1] : elements;
    const int last = table->parts_size() - 1;
    if (last >= 0 && end - table->parts(last).begin() <= most) {
      table->mutable_parts(last)->set_end(end);
      continue;
    }
    ShardMap::Part* part = table->add_parts();
    part->set_begin(tensors[i]);
    part->set_end(end);
  }

  DealParts(servers, shards_per_server, table);
  return map;
}

uint64_t LargestPartBytes(const Job& job) {
  const auto rule = ServerRule(job);
  return rule.ok() && *rule != nullptr && (*rule)->per_tensor ? kMaxPartBytes : job.servers().part_bytes();
}

absl::Status ValidateShardMap(const ShardMap& map, uint32_t servers) {
  for (const ShardMap::Table& table : map.tables()) {
    if (table.parts_size() > kMaxParts) {
      return absl::InvalidArgumentError(
          absl::StrCat("table ", table.id(), " of the shard map has ", table.parts_size(), " parts"));
    }
    uint64_t expected = 0;
    for (int i = 0; i < table.parts_size(); ++i) {
      const ShardMap::Part& part = table.parts(i);
      if (part.begin() != expected || part.end() <= part.begin() || part.end() > table.elements() ||
          part.server() >= servers) {
        return absl::InvalidArgumentError(absl::StrCat("part ", i, " of table ", table.id(), " is [", part.begin(),
                                                       ", ", part.end(), ") on server ", part.server(),
                                                       "; it should begin at ", expected, ", of ", table.elements(),
                                                       " elements on ", servers, " servers"));
      }
      expected = part.end();
    }
    if (expected != table.elements()) {
      return absl::InvalidArgumentError(absl::StrCat("the parts of table ", table.id(), " end at ", expected,
                                                     ", the table at ", table.elements()));
    }
  }
  return absl::OkStatus();
}

}  // namespace downpour
