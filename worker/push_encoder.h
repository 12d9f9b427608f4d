// A worker's pushes in the codec that the job, its bound on bandwidth and the wire's state leave for them.
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
#include "worker/send_budget.h"

namespace downpour::worker {

// One thread at a time.
class PushEncoder {
 public:
  // For the parts of `map`'s only table, which is `table`. InvalidArgument: there is no such codec.
  static absl::StatusOr<std::unique_ptr<PushEncoder>> Create(const Job& job, uint32_t partition, const TableSpec& table,
                                                             const ShardMap& map);

  // How pushes of what is added to the servers' values go from now on; at first, as the job says.
  void SetLevel(const WireLevel& level);

  // What a push of such values goes by, at `now` in seconds of a clock that does not go back.
  struct Plan {
    const Codec* codec = &kRawCodec;
    bool encoded = false;  // each part has to be, raw ones too where something waits to be added
  };
  Plan Begin(PushContent content, double now);

  // Encodes a part of the push that was begun. What the codec leaves out is carried to the part's next push, if the job
  // wants that and the values are added to the servers' and not in place of them.
  void Encode(uint32_t part, std::span<const float> values, ByteBuffer* payload);

  // Adds what a part carries to `values`, its next push, which others encode.
  void GiveCarried(uint32_t part, std::span<float> values);

  // What Encode made of `values`, in `sent`, was taken by nobody: what the part carries is what it was without.
  void TakeBack(uint32_t part, std::span<const float> values, const Message& sent);

 private:
  PushEncoder(const WireCodecs& codecs, uint64_t seed, std::vector<PartLayout> layouts);

  // What fits into so many bytes.
  WireLevel Fitting(double bytes) const;

  const WireCodecs codecs_;
  const uint64_t seed_;
  const std::vector<PartLayout> layouts_;  // by part
  uint64_t exempt_bytes_ = 0;              // of a push, whatever the codec
  uint64_t coded_elements_ = 0;            // floats of it that are encoded
  WireLevel level_;
  SendBudget budget_;

  // Of the push that was begun.
  WireLevel now_;
  PushContent content_ = PushContent::kGradient;
  double bytes_ = 0;  // encoded so far
  double level_bytes_ = 0;  // what the last push at the level took; 0 for none yet

  // By part, each made when it is first needed.
  std::vector<std::unique_ptr<PartEncoder>> added_;
  std::vector<std::unique_ptr<PartEncoder>> averaged_;
};

}  // namespace downpour::worker
