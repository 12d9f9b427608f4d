#include "proto/codec/coded_payload.h"

#include "absl/strings/str_cat.h"
#include "proto/codec/byte_reader.h"

namespace downpour {

absl::StatusOr<CodedPayload> CodedPayload::Parse(const Payload& payload, uint32_t elements) {
  CodedPayload coded;
  std::span<const std::byte> bytes;
  if (payload.chunks().size() == 1) {
    bytes = payload.chunks()[0];
  } else {
    coded.copy_ = std::make_unique_for_overwrite<std::byte[]>(payload.size());
    PayloadReader(payload).Read({coded.copy_.get(), payload.size()});
    bytes = {coded.copy_.get(), payload.size()};
  }
  ByteReader in(bytes);
  uint32_t ranges = 0;
  if (!in.Read(&ranges) || ranges > in.left() / sizeof(ExemptRange)) {
    return absl::InvalidArgumentError("the ranges that travel raw don't fit");
  }
  coded.exempt_.resize(ranges);
  in.ReadAll(std::span(coded.exempt_));
  uint64_t raw = 0;
  uint32_t at = 0;
  for (const ExemptRange& range : coded.exempt_) {
    if (range.begin < at || range.end <= range.begin || range.end > elements) {
      return absl::InvalidArgumentError(absl::StrCat("floats ", range.begin, " to ", range.end, " travel raw"));
    }
    at = range.end;
    raw += range.end - range.begin;
  }
  if (raw * sizeof(float) > in.left()) return absl::InvalidArgumentError("the floats that travel raw don't fit");
  coded.exempt_values_ = in.Take(raw * sizeof(float));
  coded.encoded_ = in.rest();
  return coded;
}

}  // namespace downpour
