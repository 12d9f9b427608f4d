// Reads of a payload the floats that it says something of, so that the rest need not be touched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "absl/status/statusor.h"
#include "proto/codec/codec.h"
#include "proto/codec/coded_payload.h"
#include "proto/frame.h"
#include "proto/payload.h"

namespace downpour {

// One thread at a time.
class SparseReader {
 public:
  // Borrows the payload. Null where it says something of each float, or of ranges that travel raw: a BlockReader reads
  // those. InvalidArgument as a BlockReader.
  static absl::StatusOr<std::unique_ptr<SparseReader>> Open(CodecId codec, const Payload& payload, uint32_t elements);

  // As SparseDecoder's.
  size_t Next(std::span<uint32_t> places, std::span<float> values) { return decoder_->Next(places, values); }

 private:
  SparseReader(CodedPayload payload, std::unique_ptr<SparseDecoder> decoder)
      : payload_(std::move(payload)), decoder_(std::move(decoder)) {}

  const CodedPayload payload_;
  const std::unique_ptr<SparseDecoder> decoder_;
};

}  // namespace downpour
