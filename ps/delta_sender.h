// What one worker has of a part, and how it is brought from there to what the part has become (Tang et al. 2019,
// "DoubleSqueeze"): what the codec leaves out of one difference is in the next, for that is taken from what the worker
// really has.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "proto/codec/codec.h"
#include "proto/codec/part_layout.h"
#include "proto/payload.h"
#include "ps/shared_buffers.h"

namespace downpour::ps {

// One thread at a time; the payloads may be used on others, and outlive it.
class DeltaSender {
 public:
  // `codec` is not raw, and outlives it.
  DeltaSender(const Codec& codec, const CodecSettings& settings, PartLayout layout, uint64_t seed);

  // Whether a worker of this fence has what the answer to its pull `number` brought, and nothing since.
  bool Knows(uint64_t fence, uint64_t number) const;

  // Whether what the worker has is finite: only then is there a difference.
  bool HasFinite() const { return finite_; }

  // The answer to this pull is the values as a whole.
  void SendWhole(std::span<const float> values, uint64_t fence, uint64_t number);
  // The answer to this pull is what is returned, to be added to what the worker has. `scratch` is as long as the part.
  Payload SendDifference(std::span<const float> values, uint64_t number, std::span<float> scratch);

 private:
  const CodecId codec_;
  const PartLayout layout_;
  const std::unique_ptr<Encoder> encoder_;
  kernels::AlignedBuffer has_;
  uint64_t fence_ = 0;
  uint64_t number_ = 0;
  bool finite_ = true;
  SharedBuffers buffers_;
};

}  // namespace downpour::ps
