// Which codecs a job's frames may have, and what they go by.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "proto/codec/codec.h"
#include "proto/job.pb.h"

namespace downpour {

struct WireCodecs {
  const Codec* push = &kRawCodec;  // besides raw, which always goes
  CodecSettings settings;          // of `push`
  bool feedback = false;
  uint32_t min_elements = 0;
  const Codec* pull = &kRawCodec;  // likewise; where it is not for parameters, differences travel in it
  CodecSettings pull_settings;
  uint32_t pull_min_elements = 0;
};

// InvalidArgument where the job names a codec that does not exist.
absl::StatusOr<WireCodecs> WireCodecsOf(const Job& job);

}  // namespace downpour
