// A sender's side of one part: what travels raw, what a codec makes of the rest, and what that left out.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "proto/codec/byte_buffer.h"
#include "proto/codec/codec.h"
#include "proto/codec/part_layout.h"

namespace downpour {

// Writes what `values`, as many as the part has and all finite, become, into `payload` from its beginning, and leaves
// in them what that does not say.
void EncodePart(const PartLayout& layout, std::span<float> values, Encoder* encoder, ByteBuffer* payload);

// One thread at a time.
class PartEncoder {
 public:
  // `codec` outlives it. With `feedback` the error of each payload is added to what the next one is
  // made from, so that nothing is lost, only late (Karimireddy et al. 2019, "Error feedback fixes SignSGD").
  PartEncoder(const Codec& codec, const CodecSettings& settings, PartLayout layout, bool feedback, uint64_t seed);

  CodecId id() const { return codec_->id; }
  // From the next payload on; what waits stays. `codec` outlives it.
  void Use(const Codec& codec, const CodecSettings& settings);

  // Writes what `values`, as many as the part has and all finite, become, into `payload` from its beginning.
  void Encode(std::span<const float> values, ByteBuffer* payload);

  // Adds `more` to what waits for the next call, from the part's element `begin` on; without feedback nothing waits.
  void Carry(size_t begin, std::span<const float> more);

  // Adds what waits for the next call to `values`, as many as the part has; then nothing waits.
  void GiveCarried(std::span<float> values);

  // Whether something may wait for the next call.
  bool carries() const { return carries_; }

  // What waits for the next call; without feedback what was lost.
  std::span<const float> error() const { return {carried_.data(), carried_.size()}; }

 private:
  const PartLayout layout_;
  const bool feedback_;
  const uint64_t seed_;
  const Codec* codec_ = nullptr;
  CodecSettings settings_;
  uint64_t changes_ = 0;
  bool carries_ = false;
  std::unique_ptr<Encoder> encoder_;  // null for raw
  kernels::AlignedBuffer carried_;
};

}  // namespace downpour
