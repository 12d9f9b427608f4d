// A part's values in a codec, encoded once for all the replies that carry them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "proto/codec/part_encoder.h"
#include "proto/payload.h"
#include "ps/shared_buffers.h"

namespace downpour::ps {

// One thread at a time; what it gives out may be used on others, and outlives it.
class CodedSnapshot {
 public:
  // `codec` is not raw, and outlives it.
  CodedSnapshot(const Codec& codec, PartLayout layout);

  CodecId codec() const { return encoder_.id(); }
  // The values as they are at this version.
  const Payload& Of(std::span<const float> values, uint64_t version);

 private:
  PartEncoder encoder_;
  SharedBuffers buffers_;
  Payload payload_;
  uint64_t version_ = 0;
};

}  // namespace downpour::ps
