// The frame around what a codec wrote: what travels raw beside it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/codec/part_layout.h"
#include "proto/payload.h"

namespace downpour {

// Borrows the payload, or holds a copy where that lies in several pieces.
class CodedPayload {
 public:
  // InvalidArgument where ranges or floats that travel raw are not those of a part of so many floats.
  static absl::StatusOr<CodedPayload> Parse(const Payload& payload, uint32_t elements);

  std::span<const ExemptRange> exempt() const { return exempt_; }
  // The floats of all of them, in order.
  std::span<const std::byte> exempt_values() const { return exempt_values_; }
  // What the codec wrote.
  std::span<const std::byte> encoded() const { return encoded_; }

 private:
  std::unique_ptr<std::byte[]> copy_;
  std::vector<ExemptRange> exempt_;
  std::span<const std::byte> exempt_values_;
  std::span<const std::byte> encoded_;
};

}  // namespace downpour
