// A worker's pushes in the job's codec.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/codec/byte_buffer.h"
#include "proto/codec/part_encoder.h"
#include "proto/codec/wire_codecs.h"
#include "proto/frame.h"
#include "proto/job.pb.h"
#include "proto/service.pb.h"

namespace downpour::worker {

// One thread at a time.
class PushEncoder {
 public:
  // For the parts of `map`'s only table, which is `table`. InvalidArgument: there is no such codec.
  static absl::StatusOr<std::unique_ptr<PushEncoder>> Create(const Job& job, uint32_t partition, const TableSpec& table,
                                                             const ShardMap& map);

  // How a push of such values travels.
  CodecId CodecFor(PushContent content) const;

  // Encodes a part of such a push, where it does not travel raw. What the codec leaves out is carried to the part's next
  // push, if the job wants that and the values are added to the servers' and not in place of them.
  void Encode(PushContent content, uint32_t part, std::span<const float> values, ByteBuffer* payload);

 private:
  PushEncoder(const WireCodecs& codecs, uint64_t seed, std::vector<PartLayout> layouts);

  const WireCodecs codecs_;
  const uint64_t seed_;
  const std::vector<PartLayout> layouts_;  // by part
  // By part, each made when it is first needed.
  std::vector<std::unique_ptr<PartEncoder>> added_;
  std::vector<std::unique_ptr<PartEncoder>> averaged_;
};

}  // namespace downpour::worker
