// Which shard owns which range of a job's parameters.
#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "proto/job.pb.h"
#include "proto/service.pb.h"

namespace downpour {

// Cuts a flat vector of `elements` floats into parts of at most `part_bytes`, at least one a shard, all equal to
// within 16 floats, and deals them to shards in turn, so that shards are even and neighbours lie on different servers.
// Parts are multiples of 16 floats, the last excepted. A pure function: both sides get the same.
ShardMap MakeShardMap(uint64_t elements, uint32_t servers, uint32_t shards_per_server, uint64_t part_bytes);

// For optimizers that need whole tensors: parts begin only where one of `tensors` does, which are ascending from 0. A
// tensor of more than `part_bytes` is a part of its own. As even as that allows: the largest part goes first to the
// shard that has least. A pure function too.
ShardMap MakeShardMap(uint64_t elements, uint32_t servers, uint32_t shards_per_server, uint64_t part_bytes,
                      std::span<const uint64_t> tensors);

// Gives out parts that are cut already: the largest goes first to the shard that has least. A pure function too.
void DealParts(uint32_t servers, uint32_t shards_per_server, ShardMap::Table* table);

// The most bytes that a part of this job may have, and so what a message must have room for.
uint64_t LargestPartBytes(const Job& job);

// Checks a map that came from a peer: the parts of each table lie end to end over [0, elements), their owners exist,
// and nothing is absurd. A failure names the first part that is wrong.
absl::Status ValidateShardMap(const ShardMap& map, uint32_t servers);

}  // namespace downpour
