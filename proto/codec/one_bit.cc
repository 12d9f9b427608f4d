// The sign of each float. Of 4096 floats those that are not negative come out as their mean, and so do the negative
// ones (Seide et al. 2014, "1-bit stochastic gradient descent"). The error of one float is at most the largest
// magnitude; that of all together, squared, is never more than the floats' own squares, and what is left is to be
// carried to the next time.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "kernels/function_clones.h"
#include "kernels/vector_ops.h"
#include "proto/codec/byte_reader.h"
#include "proto/codec/codec.h"

namespace downpour {
namespace {

constexpr size_t kWordBits = 32;
constexpr size_t kBlockWords = kBlockElements / kWordBits;

struct Means {
  float positive = 0;  // of those that are not negative
  float negative = 0;
};

size_t Blocks(size_t elements) { return (elements + kBlockElements - 1) / kBlockElements; }
size_t Words(size_t elements) { return (elements + kWordBits - 1) / kWordBits; }

// kBlockElements floats; returns how many are negative.
DOWNPOUR_CLONES
uint32_t PackSigns(const float* x, uint32_t* words) {
  uint32_t negative = 0;
  for (size_t word = 0; word < kBlockWords; ++word) {
    uint32_t bits = 0;
    for (size_t i = 0; i < kWordBits; ++i) {
      bits |= (std::bit_cast<uint32_t>(x[word * kWordBits + i]) >> 31) << i;
    }
    words[word] = bits;
    negative += static_cast<uint32_t>(std::popcount(bits));
  }
  return negative;
}

DOWNPOUR_CLONES
void Magnitudes(const float* x, float* to) {
  for (size_t i = 0; i < kBlockElements; ++i) {
    to[i] = std::bit_cast<float>(std::bit_cast<uint32_t>(x[i]) & 0x7fffffff);
  }
}

DOWNPOUR_CLONES
void Unpack(const uint32_t* words, float positive, float negative, float* to) {
  for (size_t word = 0; word < kBlockWords; ++word) {
    for (size_t i = 0; i < kWordBits; ++i) {
      to[word * kWordBits + i] = (words[word] >> i & 1) != 0 ? negative : positive;
    }
  }
}

class OneBitEncoder final : public Encoder {
 public:
  void Encode(std::span<float> values, ByteBuffer* payload) override {
    const size_t blocks = Blocks(values.size());
    std::span<std::byte> means = payload->Extend(blocks * sizeof(Means) + Words(values.size()) * sizeof(uint32_t));
    std::span<std::byte> words = means.subspan(blocks * sizeof(Means));
    while (!values.empty()) {
      const size_t n = std::min(kBlockElements, values.size());
      EncodeBlock(values.first(n), means.data(), words.data());
      means = means.subspan(sizeof(Means));
      words = words.subspan(Words(n) * sizeof(uint32_t));
      values = values.subspan(n);
    }
  }

 private:
  // The floats behind the end of the last block are zero: they are not negative, and don't count.
  void EncodeBlock(std::span<float> values, std::byte* mean, std::byte* words) {
    std::copy(values.begin(), values.end(), block_.begin());
    std::fill(block_.begin() + values.size(), block_.end(), 0.0f);
    const uint32_t negative = PackSigns(block_.data(), words_.data());
    const auto positive = static_cast<uint32_t>(values.size()) - negative;
    const float sum = kernels::Sum(block_);
    Magnitudes(block_.data(), decoded_.data());
    const float magnitudes = kernels::Sum(decoded_);
    // What is finite stays so: sums of many large floats may not be.
    const auto of = [](float total, uint32_t count) {
      const float mean = count == 0 ? 0 : total / 2 / static_cast<float>(count);
      return kernels::AllFinite({&mean, 1}) ? mean : 0;
    };
    const Means means = {std::max(0.0f, of(magnitudes + sum, positive)),
                         std::min(0.0f, of(sum - magnitudes, negative))};
    std::memcpy(mean, &means, sizeof(means));
    std::memcpy(words, words_.data(), Words(values.size()) * sizeof(uint32_t));
    Unpack(words_.data(), means.positive, means.negative, decoded_.data());
    kernels::Axpy(-1, std::span(decoded_).first(values.size()), values);
  }

  std::array<float, kBlockElements> block_;
  std::array<float, kBlockElements> decoded_;
  std::array<uint32_t, kBlockWords> words_;
};

class OneBitDecoder final : public Decoder {
 public:
  OneBitDecoder(std::span<const std::byte> means, std::span<const std::byte> words) : means_(means), words_(words) {}

  void Decode(std::span<float> out) override {
    Means means;
    means_.Read(&means);
    std::array<uint32_t, kBlockWords> words = {};
    words_.ReadAll(std::span(words).first(Words(out.size())));
    if (out.size() == kBlockElements) return Unpack(words.data(), means.positive, means.negative, out.data());
    std::array<float, kBlockElements> block;
    Unpack(words.data(), means.positive, means.negative, block.data());
    std::copy_n(block.begin(), out.size(), out.begin());
  }

 private:
  ByteReader means_;
  ByteReader words_;
};

std::unique_ptr<Encoder> MakeEncoder(const EncoderSpec&) { return std::make_unique<OneBitEncoder>(); }

absl::StatusOr<std::unique_ptr<Decoder>> MakeDecoder(std::span<const std::byte> bytes, uint32_t elements) {
  const size_t means = Blocks(elements) * sizeof(Means);
  if (bytes.size() != means + Words(elements) * sizeof(uint32_t)) {
    return absl::InvalidArgumentError(absl::StrCat(bytes.size(), " bytes are not ", elements, " signs"));
  }
  return std::make_unique<OneBitDecoder>(bytes.first(means), bytes.subspan(means));
}

}  // namespace

const Codec kOneBitCodec = {CodecId::kOneBit, "one_bit", false, MakeEncoder, MakeDecoder};

}  // namespace downpour
