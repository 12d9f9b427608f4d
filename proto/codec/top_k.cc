// The `share` of the elements with the largest magnitudes, as they are; the rest is zero, and of two that are alike the
// first counts (Stich, Cordonnier, Jaggi 2018, "Sparsified SGD with memory"). The error's square is at most 1 - share
// of the floats' own.
#include <algorithm>
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

constexpr size_t kSample = 4096;  // floats that are looked at to guess how large the largest are

class TopKEncoder final : public Encoder {
 public:
  explicit TopKEncoder(const EncoderSpec& spec) : elements_(spec.elements) { TopKEncoder::Use(spec.settings); }

  bool Use(const CodecSettings& settings) override {
    count_ = static_cast<size_t>(std::ceil(settings.share * elements_));
    return true;
  }

  void Encode(std::span<float> values, ByteBuffer* payload) override {
    FindCandidates(values);
    const Least least = FindLeast();
    chosen_.clear();
    const size_t header = payload->size();
    payload->Append(uint32_t{0});
    uint32_t gap_bytes = 0;
    {
      GapWriter gaps(0, std::min(count_, candidates_.size()), payload);
      size_t ties = least.ties;
      for (const Candidate& candidate : candidates_) {
        if (candidate.magnitude < least.magnitude) continue;
        if (candidate.magnitude == least.magnitude) {
          if (ties == 0) continue;
          --ties;
        }
        gaps.Add(candidate.place);
        chosen_.push_back(values[candidate.place]);
        values[candidate.place] = 0;
      }
      gap_bytes = static_cast<uint32_t>(gaps.written());
    }
    std::memcpy(payload->bytes().data() + header, &gap_bytes, sizeof(gap_bytes));
    payload->AppendAll(std::span<const float>(chosen_));
  }

 private:
  struct Candidate {
    uint32_t place = 0;
    uint32_t magnitude = 0;
  };
  // The least magnitude that is sent, and how many that have just that.
  struct Least {
    uint32_t magnitude = 0;
    size_t ties = 0;
  };

  // All from some magnitude on, `count_` or more of them where there are so many that are not zero. The magnitude is
  // guessed from a sample: too low a guess costs candidates, and too high a one another look.
  void FindCandidates(std::span<const float> values) {
    TakeSample(values);
    const double expected =
        std::min(1.0, static_cast<double>(count_) / std::max<size_t>(values.size(), 1)) * sample_.size();
    for (auto rank = static_cast<size_t>(expected + 4 * std::sqrt(expected) + 4);; rank *= 4) {
      uint32_t low = 1;  // zeros are not worth sending
      if (rank < sample_.size()) {
        const auto at = sample_.begin() + static_cast<ptrdiff_t>(rank);
        std::nth_element(sample_.begin(), at, sample_.end(), std::greater<>());
        low = std::max(low, *at);
      }
      candidates_.clear();
      ForEachAtLeast(low, values, [&](size_t i, uint32_t magnitude) {
        candidates_.push_back({static_cast<uint32_t>(i), magnitude});
      });
      if (candidates_.size() >= count_ || low == 1) return;
    }
  }

  // One from each stretch of them, not always from the same place in it, for rows repeat.
  void TakeSample(std::span<const float> values) {
    const size_t stretch = (values.size() + kSample - 1) / kSample;
    sample_.clear();
    for (size_t begin = 0, i = 0; begin < values.size(); begin += stretch, ++i) {
      const size_t place = begin + (i * 2654435761u >> 8) % stretch;
      if (place < values.size()) sample_.push_back(Magnitude(values[place]));
    }
  }

  Least FindLeast() {
    if (candidates_.size() <= count_) return {1, SIZE_MAX};
    magnitudes_.clear();
    for (const Candidate& candidate : candidates_) magnitudes_.push_back(candidate.magnitude);
    const auto last = magnitudes_.begin() + static_cast<ptrdiff_t>(count_) - 1;
    std::nth_element(magnitudes_.begin(), last, magnitudes_.end(), std::greater<>());
    const auto larger = std::count_if(magnitudes_.begin(), last, [&](uint32_t other) { return other > *last; });
    return {*last, count_ - static_cast<size_t>(larger)};
  }

  const uint32_t elements_;
  size_t count_ = 0;
  std::vector<uint32_t> sample_;
  std::vector<Candidate> candidates_;
  std::vector<uint32_t> magnitudes_;
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
