// The `share` of the elements with the largest magnitudes, as they are; the rest is zero, and of two that are alike the
// first counts (Stich, Cordonnier, Jaggi 2018, "Sparsified SGD with memory"). The error's square is at most 1 - share
// of the floats' own.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/codec/byte_reader.h"
#include "proto/codec/codec.h"
#include "proto/codec/gaps.h"
#include "proto/codec/magnitudes.h"
#include "proto/codec/sparse_decoder.h"

namespace downpour {
namespace {

constexpr int kBucketShift = 19;  // the exponent, and 4 bits more
constexpr size_t kBuckets = (kernels::kMagnitudeBits >> kBucketShift) + 1;

class TopKEncoder final : public Encoder {
 public:
  explicit TopKEncoder(const EncoderSpec& spec) : elements_(spec.elements) { TopKEncoder::Use(spec.settings); }

  bool Use(const CodecSettings& settings) override {
    count_ = static_cast<size_t>(std::ceil(settings.share * elements_));
    return true;
  }

  void Encode(std::span<float> values, ByteBuffer* payload) override {
    const Least least = FindLeast(values);
    chosen_.clear();
    const size_t header = payload->size();
    payload->Append(uint32_t{0});
    uint32_t gap_bytes = 0;
    {
      GapWriter gaps(0, std::min(count_, values.size()), payload);
      size_t ties = least.ties;
      ForEachAtLeast(least.magnitude, values, [&](size_t i, uint32_t magnitude) {
        if (magnitude == least.magnitude) {
          if (ties == 0) return;
          --ties;
        }
        gaps.Add(static_cast<uint32_t>(i));
        chosen_.push_back(values[i]);
        values[i] = 0;
      });
      gap_bytes = static_cast<uint32_t>(gaps.written());
    }
    std::memcpy(payload->bytes().data() + header, &gap_bytes, sizeof(gap_bytes));
    payload->AppendAll(std::span<const float>(chosen_));
  }

 private:
  // The least magnitude that is sent, and how many that have just that.
  struct Least {
    uint32_t magnitude = 0;
    size_t ties = 0;
  };

  Least FindLeast(std::span<const float> values) {
    std::array<uint32_t, kBuckets> counts{};
    for (const float x : values) ++counts[Magnitude(x) >> kBucketShift];
    size_t above = 0;
    size_t bucket = kBuckets - 1;
    while (bucket > 0 && above + counts[bucket] < count_) above += counts[bucket--];
    candidates_.clear();
    const auto low =
        std::max<uint32_t>(1, static_cast<uint32_t>(bucket << kBucketShift));  // zeros are not worth sending
    ForEachAtLeast(low, values, [&](size_t, uint32_t magnitude) {
      if (magnitude >> kBucketShift == bucket) candidates_.push_back(magnitude);
    });
    const size_t wanted = std::min(count_ - above, candidates_.size());
    if (wanted == 0) return {static_cast<uint32_t>((bucket + 1) << kBucketShift), SIZE_MAX};
    std::nth_element(candidates_.begin(), candidates_.begin() + (wanted - 1), candidates_.end(), std::greater<>());
    const uint32_t magnitude = candidates_[wanted - 1];
    const auto larger = std::count_if(candidates_.begin(), candidates_.begin() + wanted,
                                      [magnitude](uint32_t other) { return other > magnitude; });
    return {magnitude, wanted - static_cast<size_t>(larger)};
  }

  const uint32_t elements_;
  size_t count_ = 0;
  std::vector<uint32_t> candidates_;
  std::vector<float> chosen_;
};

class TopKDecoder final : public SparseDecoder {
 public:
  TopKDecoder(std::span<const std::byte> gaps, std::span<const std::byte> values) : gaps_(0, gaps), values_(values) {}

  size_t Next(std::span<uint32_t> places, std::span<float> values) override {
    size_t count = std::min(values.size(), values_.left() / sizeof(float));
    if (!places.empty()) count = ReadPlaces(&gaps_, places.first(std::min(places.size(), count)));
    values_.ReadAll(values.first(count));
    return count;
  }

 private:
  GapReader gaps_;
  ByteReader values_;
};

std::unique_ptr<Encoder> MakeEncoder(const EncoderSpec& spec) { return std::make_unique<TopKEncoder>(spec); }

absl::StatusOr<std::unique_ptr<SparseDecoder>> MakeSparseDecoder(std::span<const std::byte> bytes, uint32_t elements) {
  ByteReader in(bytes);
  uint32_t gap_bytes = 0;
  if (!in.Read(&gap_bytes) || gap_bytes > in.left()) return absl::InvalidArgumentError("the places don't fit");
  const auto gaps = in.Take(gap_bytes);
  const auto count = CountPlaces(0, gaps, elements);
  if (!count) return absl::InvalidArgumentError("the places are not ascending places of the part");
  if (in.left() != uint64_t{*count} * sizeof(float)) {
    return absl::InvalidArgumentError(absl::StrCat(*count, " places, and ", in.left(), " bytes of values"));
  }
  return std::make_unique<TopKDecoder>(gaps, in.rest());
}

}  // namespace

const Codec kTopKCodec = {.id = CodecId::kTopK,
                          .name = "top_k",
                          .encoder = MakeEncoder,
                          .decoder = MakeDensifyingDecoder<MakeSparseDecoder>,
                          .sparse_decoder = MakeSparseDecoder};

}  // namespace downpour
