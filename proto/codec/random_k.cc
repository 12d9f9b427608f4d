// The `share` of the elements that chance says, as they are; the rest is zero. One in each of as many stretches of
// equal length, by a key that travels with the values, so that no places do (Stich, Cordonnier, Jaggi 2018). The
// error's square is 1 - share of the floats' own in the mean, and never more than that.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "kernels/split_mix.h"
#include "proto/codec/byte_reader.h"
#include "proto/codec/codec.h"
#include "proto/codec/sparse_decoder.h"

namespace downpour {
namespace {

// Of `elements` places those of `count` stretches, 0 < count <= elements.
class Draws {
 public:
  Draws(uint64_t key, uint32_t count, uint32_t elements) : key_(key), count_(count), elements_(elements) {}

  uint32_t count() const { return count_; }
  uint32_t Place(uint32_t stretch) const {
    const uint64_t begin = uint64_t{stretch} * elements_ / count_;
    const uint64_t end = (uint64_t{stretch} + 1) * elements_ / count_;
    return static_cast<uint32_t>(begin + kernels::SplitMix64(key_ + stretch) % (end - begin));
  }

 private:
  const uint64_t key_;
  const uint32_t count_;
  const uint32_t elements_;
};

class RandomKEncoder final : public Encoder {
 public:
  explicit RandomKEncoder(const EncoderSpec& spec)
      : seed_(spec.seed), count_(static_cast<uint32_t>(std::ceil(spec.settings.share * spec.elements))) {}

  void Encode(std::span<float> values, ByteBuffer* payload) override {
    const uint64_t key = kernels::SplitMix64(seed_ + ++calls_);
    const auto elements = static_cast<uint32_t>(values.size());
    const Draws draws(key, std::min(count_, elements), elements);
    payload->Append(key);
    for (uint32_t i = 0; i < draws.count(); ++i) {
      float& value = values[draws.Place(i)];
      payload->Append(value);
      value = 0;
    }
  }

 private:
  const uint64_t seed_;
  const uint32_t count_;
  uint64_t calls_ = 0;
};

class RandomKDecoder final : public SparseDecoder {
 public:
  RandomKDecoder(const Draws& draws, std::span<const std::byte> values) : draws_(draws), values_(values) {}

  size_t Next(std::span<uint32_t> places, std::span<float> values) override {
    size_t count = std::min<size_t>(values.size(), draws_.count() - next_);
    if (!places.empty()) count = std::min(count, places.size());
    for (size_t i = 0; i < std::min(count, places.size()); ++i)
      places[i] = draws_.Place(next_ + static_cast<uint32_t>(i));
    next_ += static_cast<uint32_t>(count);
    values_.ReadAll(values.first(count));
    return count;
  }

 private:
  const Draws draws_;
  ByteReader values_;
  uint32_t next_ = 0;
};

std::unique_ptr<Encoder> MakeEncoder(const EncoderSpec& spec) { return std::make_unique<RandomKEncoder>(spec); }

absl::StatusOr<std::unique_ptr<SparseDecoder>> MakeSparseDecoder(std::span<const std::byte> bytes, uint32_t elements) {
  ByteReader in(bytes);
  uint64_t key = 0;
  if (!in.Read(&key)) return absl::InvalidArgumentError("no key");
  const uint64_t count = in.left() / sizeof(float);
  if (in.left() % sizeof(float) != 0 || count > elements || (count == 0 && elements > 0)) {
    return absl::InvalidArgumentError(absl::StrCat(in.left(), " bytes of values for ", elements, " places"));
  }
  return std::make_unique<RandomKDecoder>(Draws(key, static_cast<uint32_t>(count), elements), in.rest());
}

}  // namespace

const Codec kRandomKCodec = {.id = CodecId::kRandomK,
                             .name = "random_k",
                             .encoder = MakeEncoder,
                             .decoder = MakeDensifyingDecoder<MakeSparseDecoder>,
                             .sparse_decoder = MakeSparseDecoder};

}  // namespace downpour
