// Whole numbers from -127 to 127 times a scale for each 256 floats, the largest magnitude among them / 127. Rounded up
// or down by chance, so that the mean of many is the value (Alistarh et al. 2017, "QSGD"): an error below one scale.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/function_clones.h"
#include "kernels/split_mix.h"
#include "proto/codec/byte_reader.h"
#include "proto/codec/codec.h"

namespace downpour {
namespace {

constexpr size_t kGroup = 256;
constexpr float kSteps = 127;
constexpr float kLargestScale = 2.679e36f;  // times 127 it is a float
static_assert(kBlockElements % kGroup == 0);

size_t Groups(size_t elements) { return (elements + kGroup - 1) / kGroup; }

// Magnitudes of floats are ordered as their bits are.
DOWNPOUR_CLONES
uint32_t LargestMagnitude(const float* x, size_t size) {
  uint32_t largest = 0;
  for (size_t i = 0; i < size; ++i) {
    const uint32_t magnitude = std::bit_cast<uint32_t>(x[i]) & 0x7fffffff;
    largest = magnitude > largest ? magnitude : largest;
  }
  return largest;
}

DOWNPOUR_CLONES
void Quantize(float* x, size_t size, float scale, float inverse, uint32_t key, int8_t* to) {
  for (size_t i = 0; i < size; ++i) {
    // A draw from [0, 1), by Wellons' hash of 32 bits ("lowbias32").
    uint32_t draw = key + static_cast<uint32_t>(i);
    draw = (draw ^ draw >> 16) * 0x7feb352du;
    draw = (draw ^ draw >> 15) * 0x846ca68bu;
    draw ^= draw >> 16;
    const float chance = static_cast<float>(static_cast<int32_t>(draw >> 8)) * 0x1p-24f;
    const float wanted = x[i] * inverse + chance + 128;  // positive: to cut off is to round down
    const float bounded = wanted < 1 ? 1 : wanted > 255 ? 255 : wanted;
    const int32_t step = static_cast<int32_t>(bounded) - 128;
    to[i] = static_cast<int8_t>(step);
    x[i] -= static_cast<float>(step) * scale;
  }
}

DOWNPOUR_CLONES
void Scale(const int8_t* x, size_t size, float scale, float* to) {
  for (size_t i = 0; i < size; ++i) to[i] = static_cast<float>(x[i]) * scale;
}

class Int8Encoder final : public Encoder {
 public:
  explicit Int8Encoder(uint64_t seed) : seed_(seed) {}

  void Encode(std::span<float> values, ByteBuffer* payload) override {
    const uint64_t stream = kernels::SplitMix64(seed_ + ++calls_);
    scales_.resize(Groups(values.size()));
    const std::span<std::byte> to = payload->Extend(scales_.size() * sizeof(float) + values.size());
    const auto steps = to.subspan(scales_.size() * sizeof(float));
    for (size_t group = 0; group < scales_.size(); ++group) {
      const size_t at = group * kGroup;
      const std::span<float> block = values.subspan(at, std::min(kGroup, values.size() - at));
      const float largest = std::bit_cast<float>(LargestMagnitude(block.data(), block.size()));
      // Below the smallest normal float there is no precision left to cut up.
      const float scale = largest < 0x1p-118f ? 0 : std::min(largest / kSteps, kLargestScale);
      const float inverse = scale == 0 ? 0 : 1 / scale;
      scales_[group] = scale;
      std::array<int8_t, kGroup> quantized;
      if (scale == 0) {
        quantized.fill(0);
      } else {
        Quantize(block.data(), block.size(), scale, inverse, static_cast<uint32_t>(kernels::SplitMix64(stream + group)),
                 quantized.data());
      }
      std::memcpy(steps.data() + at, quantized.data(), block.size());
    }
    std::memcpy(to.data(), scales_.data(), scales_.size() * sizeof(float));
  }

 private:
  const uint64_t seed_;
  uint64_t calls_ = 0;
  std::vector<float> scales_;
};

class Int8Decoder final : public Decoder {
 public:
  Int8Decoder(std::span<const std::byte> scales, std::span<const std::byte> steps) : scales_(scales), steps_(steps) {}

  void Decode(std::span<float> out) override {
    while (!out.empty()) {
      const size_t n = std::min(kGroup, out.size());
      float scale;
      std::array<int8_t, kGroup> steps;
      scales_.Read(&scale);
      steps_.ReadAll(std::span(steps).first(n));
      Scale(steps.data(), n, scale, out.data());
      out = out.subspan(n);
    }
  }

 private:
  ByteReader scales_;
  ByteReader steps_;
};

std::unique_ptr<Encoder> MakeEncoder(const EncoderSpec& spec) { return std::make_unique<Int8Encoder>(spec.seed); }

absl::StatusOr<std::unique_ptr<Decoder>> MakeDecoder(std::span<const std::byte> bytes, uint32_t elements) {
  const size_t scales = Groups(elements) * sizeof(float);
  if (bytes.size() != scales + elements) {
    return absl::InvalidArgumentError(absl::StrCat(bytes.size(), " bytes are not ", elements, " numbers of 8 bits"));
  }
  return std::make_unique<Int8Decoder>(bytes.first(scales), bytes.subspan(scales));
}

}  // namespace

const Codec kInt8Codec = {CodecId::kInt8, "int8", false, MakeEncoder, MakeDecoder};

}  // namespace downpour
