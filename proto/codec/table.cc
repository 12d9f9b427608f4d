#include <array>
#include <string>

#include "absl/strings/str_cat.h"
#include "proto/codec/codec.h"

namespace downpour {
namespace {

constexpr std::array kCodecs = {
    &kRawCodec,  &kBf16Codec,      &kFp16Codec,    &kInt8Codec,     &kOneBitCodec,
    &kTopKCodec, &kThresholdCodec, &kRandomKCodec, &kPowerSgdCodec, &kSparseCodec,
};

}  // namespace

const Codec kRawCodec = {.id = CodecId::kRaw, .name = "raw", .for_parameters = true, .lossless = true};

std::span<const Codec* const> Codecs() { return kCodecs; }

const Codec* FindCodec(CodecId id) {
  for (const Codec* codec : kCodecs) {
    if (codec->id == id) return codec;
  }
  return nullptr;
}

absl::StatusOr<const Codec*> FindCodec(absl::string_view name) {
  std::string known;
  for (const Codec* codec : kCodecs) {
    if (codec->name == name) return codec;
    absl::StrAppend(&known, known.empty() ? "" : ", ", codec->name);
  }
  return absl::InvalidArgumentError(absl::StrCat("there is no codec '", name, "'; there are ", known));
}

}  // namespace downpour
