// The upper half of each float, rounded: an error of at most 2^-8 of the value.
#include "kernels/narrow_floats.h"
#include "proto/codec/codec.h"
#include "proto/codec/narrow.h"

namespace downpour {
namespace {

constexpr NarrowFormat kFormat = {kernels::ToBf16, kernels::FromBf16};

std::unique_ptr<Encoder> MakeEncoder(const EncoderSpec&) { return MakeNarrowEncoder(kFormat); }

absl::StatusOr<std::unique_ptr<Decoder>> MakeDecoder(std::span<const std::byte> bytes, uint32_t elements) {
  return MakeNarrowDecoder(kFormat, bytes, elements);
}

}  // namespace

const Codec kBf16Codec = {CodecId::kBf16, "bf16", true, MakeEncoder, MakeDecoder};

}  // namespace downpour
