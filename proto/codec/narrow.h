// What bf16 and fp16 have in common: two bytes for each float, independent of all others.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "proto/codec/codec.h"

namespace downpour {

struct NarrowFormat {
  void (*narrow)(std::span<const float>, std::span<uint16_t>) = nullptr;
  void (*widen)(std::span<const uint16_t>, std::span<float>) = nullptr;
};

// `format` outlives what is made.
std::unique_ptr<Encoder> MakeNarrowEncoder(const NarrowFormat& format);
absl::StatusOr<std::unique_ptr<Decoder>> MakeNarrowDecoder(const NarrowFormat& format, std::span<const std::byte> bytes,
                                                           uint32_t elements);

}  // namespace downpour
