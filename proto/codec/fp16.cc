// IEEE 754 binary16: 11 bits of precision between 2^-14 and 65504, an error of at most 2^-11 of the value there, of
// 2^-25 below; what is above becomes 65504, and stays in the error.
#include "kernels/narrow_floats.h"
#include "proto/codec/codec.h"
#include "proto/codec/narrow.h"

namespace downpour {
namespace {

constexpr NarrowFormat kFormat = {kernels::ToFp16, kernels::FromFp16};

std::unique_ptr<Encoder> MakeEncoder(const EncoderSpec&) { return MakeNarrowEncoder(kFormat); }

absl::StatusOr<std::unique_ptr<Decoder>> MakeDecoder(std::span<const std::byte> bytes, uint32_t elements) {
  return MakeNarrowDecoder(kFormat, bytes, elements);
}

}  // namespace

const Codec kFp16Codec = {CodecId::kFp16, "fp16", true, MakeEncoder, MakeDecoder};

}  // namespace downpour
