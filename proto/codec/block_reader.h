// Turns the bytes of a payload back into floats, block by block, so that they are decoded in the first-level cache on
// their way into the optimizer and never stand anywhere as a whole.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/codec/codec.h"
#include "proto/codec/part_layout.h"
#include "proto/frame.h"
#include "proto/payload.h"

namespace downpour {

// Reads a payload's floats from front to back. One thread at a time.
class BlockReader {
 public:
  virtual ~BlockReader() = default;

  // The next floats: at least one, at most `limit` and scratch.size(); none at the end. They lie in the payload, in the
  // reader or in `scratch`, and are good until the next call or until scratch is used otherwise.
  virtual std::span<const float> Next(size_t limit, std::span<float> scratch) = 0;

  // Borrows the payload, which shared memory must not hold unless it is raw. InvalidArgument where it can't be so many
  // floats of this codec; nothing is allocated but what the payload's own size pays for.
  static absl::StatusOr<std::unique_ptr<BlockReader>> Open(CodecId codec, const Payload& payload, uint32_t elements);
};

// Adds what a payload says to as many floats as it is of; where it says something of few, the rest are not touched. To
// the same bits wherever it is done. Errors as BlockReader::Open, with nothing done.
absl::Status AddPayload(CodecId codec, const Payload& payload, std::span<float> to);

// The index of the first NaN or infinity in a payload; none when all is well. Errors as BlockReader::Open.
absl::StatusOr<std::optional<uint64_t>> FirstNonFinite(CodecId codec, const Payload& payload, uint32_t elements);
inline absl::StatusOr<std::optional<uint64_t>> FirstNonFinite(const Message& message) {
  return FirstNonFinite(message.header.codec, message.payload, message.header.elements);
}

}  // namespace downpour
