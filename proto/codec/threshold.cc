// Plus or minus `threshold` for each float whose magnitude reaches it, nothing for the rest (Strom 2015, "Scalable
// distributed DNN training using commodity GPU cloud computing"; DL4J's encoding). The error of a float is at most the
// larger of the threshold and its magnitude less the threshold.
#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "proto/codec/byte_reader.h"
#include "proto/codec/codec.h"
#include "proto/codec/gaps.h"
#include "proto/codec/magnitudes.h"
#include "proto/codec/sparse_decoder.h"

namespace downpour {
namespace {

constexpr uint32_t kTagBits = 1;  // 1 for a negative float

class ThresholdEncoder final : public Encoder {
 public:
  explicit ThresholdEncoder(float threshold) : threshold_(threshold) {}

  void Encode(std::span<float> values, ByteBuffer* payload) override {
    payload->Append(threshold_);
    const size_t at = payload->size();
    uint32_t count = 0;
    payload->Append(count);
    GapWriter gaps(kTagBits, values.size(), payload);
    ForEachAtLeast(Magnitude(threshold_), values, [&](size_t i, uint32_t) {
      const bool negative = values[i] < 0;
      gaps.Add(static_cast<uint32_t>(i), negative ? 1 : 0);
      values[i] -= negative ? -threshold_ : threshold_;
      ++count;
    });
    std::memcpy(payload->bytes().data() + at, &count, sizeof(count));
  }

 private:
  const float threshold_;
};

class ThresholdDecoder final : public SparseDecoder {
 public:
  ThresholdDecoder(float threshold, std::span<const std::byte> gaps) : threshold_(threshold), gaps_(kTagBits, gaps) {}

  size_t Next(std::span<uint32_t> places, std::span<float> values) override {
    const size_t most = places.empty() ? values.size() : std::min(places.size(), values.size());
    for (size_t count = 0; count < most; ++count) {
      const auto next = gaps_.Next();
      if (!next) return count;
      if (!places.empty()) places[count] = next->place;
      values[count] = next->tag == 1 ? -threshold_ : threshold_;
    }
    return most;
  }

 private:
  const float threshold_;
  GapReader gaps_;
};

std::unique_ptr<Encoder> MakeEncoder(const EncoderSpec& spec) {
  return std::make_unique<ThresholdEncoder>(spec.settings.threshold);
}

absl::StatusOr<std::unique_ptr<SparseDecoder>> MakeSparseDecoder(std::span<const std::byte> bytes, uint32_t elements) {
  ByteReader in(bytes);
  float threshold = 0;
  uint32_t count = 0;
  if (!in.Read(&threshold) || !in.Read(&count)) return absl::InvalidArgumentError("no threshold");
  if (CountPlaces(kTagBits, in.rest(), elements) != count) {
    return absl::InvalidArgumentError(absl::StrCat("what follows is not ", count, " ascending places of the part"));
  }
  return std::make_unique<ThresholdDecoder>(threshold, in.rest());
}

}  // namespace

const Codec kThresholdCodec = {.id = CodecId::kThreshold,
                               .name = "threshold",
                               .encoder = MakeEncoder,
                               .decoder = MakeDensifyingDecoder<MakeSparseDecoder>,
                               .sparse_decoder = MakeSparseDecoder,
                               .varies = true};

}  // namespace downpour
