// Which codecs a job's frames may have, and what they go by.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/codec/codec.h"
#include "proto/job.pb.h"

namespace downpour {

// One way to push, between what the job says and the least that it allows.
struct WireLevel {
  const Codec* push = &kRawCodec;
  CodecSettings settings;
  uint32_t intervals = 1;  // n_push and n_fetch are so many times the job's

  friend bool operator==(const WireLevel&, const WireLevel&) = default;
};

struct WireCodecs {
  const Codec* push = &kRawCodec;  // besides raw, which always goes
  CodecSettings settings;          // of `push`
  bool feedback = false;
  uint32_t min_elements = 0;
  // `push` first, then what sends less and less; that one alone without wire.adapt.
  std::vector<WireLevel> levels;
  double push_bytes_per_second = 0;  // what one worker's pushes may take; 0 for no bound
  const Codec* pull = &kRawCodec;    // likewise; where it is not for parameters, differences travel in it
  CodecSettings pull_settings;
  uint32_t pull_min_elements = 0;
};

// What a push goes by that has no more room than for a share of its values.
CodecSettings TopKSettings(double share);

// Whether pushes may come in this codec.
bool MayPush(const WireCodecs& codecs, CodecId codec);

// InvalidArgument where the job names a codec that does not exist.
absl::StatusOr<WireCodecs> WireCodecsOf(const Job& job);

}  // namespace downpour
