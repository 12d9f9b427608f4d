// The floats that are not zero, as they are: the gradient of an embedding is one of the few rows that a batch has
// touched. They go one by one, in units of 4, 16 or 64 that begin at multiples of that and of which one at least is not
// zero, or all, whichever takes least. Nothing is lost but the sign of a zero.
#include <algorithm>
#include <array>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "kernels/function_clones.h"
#include "kernels/selection.h"
#include "kernels/vector_ops.h"
#include "proto/codec/byte_reader.h"
#include "proto/codec/codec.h"
#include "proto/codec/sparse_decoder.h"

namespace downpour {
namespace {

constexpr uint32_t kLeast = 1;  // of a magnitude that is not zero
constexpr std::array<uint32_t, 4> kUnits = {1, 4, 16, 64};
constexpr uint32_t kAll = 0;  // in place of a unit: all floats, and no places
constexpr uint32_t kFar = 255;  // a gap of that and what the next byte says
constexpr size_t kBlock = 1024;
constexpr size_t kBlockWords = kBlock / kernels::kMaskBits;

// Adds how many units of each size have a float that is not zero.
DOWNPOUR_CLONES
void CountUnits(const uint64_t* masks, size_t words, size_t* counts) {
  for (size_t i = 0; i < words; ++i) {
    const uint64_t mask = masks[i];
    const uint64_t pairs = mask | mask >> 1;
    const uint64_t fours = (pairs | pairs >> 2) & 0x1111'1111'1111'1111;
    const uint64_t eights = fours | fours >> 4;
    const uint64_t sixteens = (eights | eights >> 8) & 0x0001'0001'0001'0001;
    counts[0] += __builtin_popcountll(mask);
    counts[1] += __builtin_popcountll(fours);
    counts[2] += __builtin_popcountll(sixteens);
    counts[3] += mask != 0;
  }
}

using UnitCounts = std::array<size_t, kUnits.size()>;

// Of every so manyth block.
UnitCounts CountUnits(std::span<const float> values, size_t every) {
  UnitCounts counts{};
  std::array<uint64_t, kBlockWords> masks;
  for (size_t begin = 0; begin < values.size(); begin += every * kBlock) {
    const auto block = values.subspan(begin, std::min(kBlock, values.size() - begin));
    const size_t words = (block.size() + kernels::kMaskBits - 1) / kernels::kMaskBits;
    kernels::MasksAtLeast(kLeast, block, masks);
    CountUnits(masks.data(), words, counts.data());
  }
  return counts;
}

// The unit that takes least; a look at some blocks tells where those hold enough.
uint32_t BestUnit(std::span<const float> values) {
  constexpr size_t kSome = 8, kEnough = 1000;
  UnitCounts counts = CountUnits(values, kSome);
  if (counts[0] < kEnough) counts = CountUnits(values, 1);
  size_t best = 0;
  const auto bytes = [&](size_t i) { return counts[i] * (1 + kUnits[i] * sizeof(float)); };
  for (size_t i = 1; i < kUnits.size(); ++i) {
    if (bytes(i) < bytes(best)) best = i;
  }
  return kUnits[best];
}

// Writes the gaps between ascending places, the first from `next` on, of which none may be far. Says whether none was.
DOWNPOUR_CLONES
bool NearGaps(const uint32_t* places, size_t count, uint32_t next, uint8_t* gaps) {
  if (count == 0) return true;
  uint32_t far = places[0] - next;
  gaps[0] = static_cast<uint8_t>(far);
  for (size_t i = 1; i < count; ++i) {
    const uint32_t gap = places[i] - places[i - 1] - 1;
    gaps[i] = static_cast<uint8_t>(gap);
    far = far > gap ? far : gap;
  }
  return far < kFar;
}

class SparseEncoder final : public Encoder {
 public:
  void Encode(std::span<float> values, ByteBuffer* payload) override {
    EncodeWhole(values, payload);
    kernels::Zero(values);
  }

  bool EncodeWhole(std::span<const float> values, ByteBuffer* payload) override {
    const size_t start = payload->size();
    const uint32_t unit = BestUnit(values);
    payload->Append(unit);
    const size_t header = payload->size();
    uint32_t floats = 0;
    payload->Append(floats);
    gaps_.Clear();
    next_ = 0;
    for (size_t begin = 0; begin < values.size(); begin += kBlock) {
      const auto block = values.subspan(begin, std::min(kBlock, values.size() - begin));
      floats += unit == 1 ? AddFloats(block, begin, payload) : AddUnits(unit, block, begin, payload);
    }
    std::memcpy(payload->bytes().data() + header, &floats, sizeof(floats));
    payload->AppendAll(std::span<const std::byte>(gaps_.bytes()));
    if (payload->size() - header > sizeof(floats) + values.size_bytes()) {
      payload->Truncate(start);
      payload->Append(kAll);
      payload->Append(static_cast<uint32_t>(values.size()));
      payload->AppendAll(values);
    }
    return true;
  }

 private:
  uint32_t AddFloats(std::span<const float> block, size_t begin, ByteBuffer* payload) {
    std::array<uint32_t, kBlock + kernels::kSelectionSlack> places;
    std::array<float, kBlock + kernels::kSelectionSlack> chosen;
    const size_t count = kernels::SelectAtLeast(kLeast, block, static_cast<uint32_t>(begin), places, chosen);
    if (count == 0) return 0;
    payload->AppendAll(std::span<const float>(chosen).first(count));
    const size_t before = gaps_.size();
    if (NearGaps(places.data(), count, next_, reinterpret_cast<uint8_t*>(gaps_.Extend(count).data()))) {
      next_ = places[count - 1] + 1;
      return static_cast<uint32_t>(count);
    }
    gaps_.Truncate(before);
    for (size_t i = 0; i < count; ++i) AddGap(places[i]);
    return static_cast<uint32_t>(count);
  }

  uint32_t AddUnits(uint32_t unit, std::span<const float> block, size_t begin, ByteBuffer* payload) {
    std::array<uint64_t, kBlockWords> masks;
    kernels::MasksAtLeast(kLeast, block, masks);
    const uint64_t of_unit = ~uint64_t{0} >> (kernels::kMaskBits - unit);
    uint32_t floats = 0;
    for (size_t i = 0; i < block.size(); i += unit) {
      if ((masks[i / kernels::kMaskBits] >> i % kernels::kMaskBits & of_unit) == 0) continue;
      const auto taken = block.subspan(i, std::min<size_t>(unit, block.size() - i));  // the part's last may be cut
      payload->AppendAll(taken);
      floats += static_cast<uint32_t>(taken.size());
      AddGap(static_cast<uint32_t>((begin + i) / unit));
    }
    return floats;
  }

  void AddGap(uint32_t place) {
    uint32_t gap = place - next_;
    for (; gap >= kFar; gap -= kFar) gaps_.Append(static_cast<uint8_t>(kFar));
    gaps_.Append(static_cast<uint8_t>(gap));
    next_ = place + 1;
  }

  ByteBuffer gaps_;
  uint32_t next_ = 0;  // unit
};

class UnitDecoder final : public SparseDecoder {
 public:
  UnitDecoder(uint32_t unit, uint32_t elements, std::span<const std::byte> values, std::span<const std::byte> gaps)
      : unit_(unit), elements_(elements), values_(values), gaps_(gaps) {}

  size_t Next(std::span<uint32_t> places, std::span<float> values) override {
    if (places.empty()) {
      const size_t count = std::min(values.size(), values_.left() / sizeof(float));
      values_.ReadAll(values.first(count));
      return count;
    }
    const size_t most = std::min(places.size(), values.size());
    size_t count = 0;
    if (unit_ == 1) {
      count = NextFloats(places.first(most));
    } else {
      for (;;) {
        for (; count < most && at_ < end_; ++at_) places[count++] = at_;
        if (count == most || gaps_.empty()) break;
        const auto gap = static_cast<uint32_t>(gaps_.front());
        gaps_ = gaps_.subspan(1);
        next_ += gap;
        if (gap == kFar) continue;
        at_ = next_++ * unit_;
        end_ = std::min(at_ + unit_, elements_);
      }
    }
    values_.ReadAll(values.first(count));
    return count;
  }

 private:
  // Without a branch that chance decides.
  size_t NextFloats(std::span<uint32_t> places) {
    constexpr size_t kAtOnce = 8;
    size_t read = 0, count = 0;
    while (count < places.size() && read < gaps_.size()) {
      if (count + kAtOnce <= places.size() && read + kAtOnce <= gaps_.size() && AllNear(&gaps_[read])) {
        for (size_t i = 0; i < kAtOnce; ++i) {
          next_ += static_cast<uint32_t>(gaps_[read + i]) + 1;
          places[count + i] = next_ - 1;
        }
        count += kAtOnce;
        read += kAtOnce;
        continue;
      }
      const auto gap = static_cast<uint32_t>(gaps_[read++]);
      next_ += gap;
      places[count] = next_;
      const uint32_t here = gap != kFar ? 1 : 0;
      count += here;
      next_ += here;
    }
    gaps_ = gaps_.subspan(read);
    return count;
  }

  // Of eight gaps.
  static bool AllNear(const std::byte* gaps) {
    uint64_t eight;
    std::memcpy(&eight, gaps, sizeof(eight));
    // A byte of 255 becomes one of zero, which borrows.
    return ((~eight - 0x0101'0101'0101'0101) & eight & 0x8080'8080'8080'8080) == 0;
  }

  const uint32_t unit_;
  const uint32_t elements_;
  ByteReader values_;
  std::span<const std::byte> gaps_;
  uint32_t next_ = 0;  // unit
  uint32_t at_ = 0;    // float of the unit that was begun
  uint32_t end_ = 0;
};

class AllDecoder final : public SparseDecoder {
 public:
  explicit AllDecoder(std::span<const std::byte> values) : values_(values) {}

  size_t Next(std::span<uint32_t> places, std::span<float> values) override {
    const size_t room = places.empty() ? values.size() : std::min(places.size(), values.size());
    const size_t count = std::min(room, values_.left() / sizeof(float));
    for (size_t i = 0; i < std::min(count, places.size()); ++i) places[i] = next_++;
    values_.ReadAll(values.first(count));
    return count;
  }

 private:
  ByteReader values_;
  uint32_t next_ = 0;
};

struct GapCount {
  uint64_t units = 0;
  uint64_t end = 0;  // behind the last of them, or behind what leads to none
};

GapCount CountGaps(std::span<const std::byte> gaps) {
  constexpr size_t kPiece = 1 << 16;  // whose sums fit 32 bits
  GapCount all;
  for (size_t begin = 0; begin < gaps.size(); begin += kPiece) {
    uint32_t units = 0, sum = 0;
    for (const std::byte gap : gaps.subspan(begin, std::min(kPiece, gaps.size() - begin))) {
      units += gap != std::byte{kFar} ? 1 : 0;
      sum += static_cast<uint32_t>(gap);
    }
    all.units += units;
    all.end += uint64_t{units} + sum;
  }
  return all;
}

std::unique_ptr<Encoder> MakeEncoder(const EncoderSpec&) { return std::make_unique<SparseEncoder>(); }

absl::StatusOr<std::unique_ptr<SparseDecoder>> MakeSparseDecoder(std::span<const std::byte> bytes, uint32_t elements) {
  ByteReader in(bytes);
  uint32_t unit = 0, floats = 0;
  if (!in.Read(&unit) || !in.Read(&floats)) return absl::InvalidArgumentError("no unit");
  if (unit == kAll) {
    if (floats != elements || in.left() != uint64_t{floats} * sizeof(float)) {
      return absl::InvalidArgumentError(absl::StrCat("all floats, and ", in.left(), " bytes of values"));
    }
    return std::make_unique<AllDecoder>(in.rest());
  }
  if (std::ranges::find(kUnits, unit) == kUnits.end())
    return absl::InvalidArgumentError(absl::StrCat("units of ", unit));
  if (floats > in.left() / sizeof(float)) return absl::InvalidArgumentError("the values don't fit");
  const auto values = in.Take(floats * sizeof(float));
  const auto gaps = in.rest();
  const auto [count, end] = CountGaps(gaps);
  const uint64_t units = (uint64_t{elements} + unit - 1) / unit;
  if (end > units || (!gaps.empty() && gaps.back() == std::byte{kFar})) {
    return absl::InvalidArgumentError("the places are not places of the part");
  }
  const uint64_t cut = count > 0 && end == units ? units * unit - elements : 0;
  if (floats != count * unit - cut) {
    return absl::InvalidArgumentError(absl::StrCat(count, " places of ", unit, ", and ", floats, " values"));
  }
  return std::make_unique<UnitDecoder>(unit, elements, values, gaps);
}

}  // namespace

const Codec kSparseCodec = {.id = CodecId::kSparse,
                            .name = "sparse",
                            .encoder = MakeEncoder,
                            .decoder = MakeDensifyingDecoder<MakeSparseDecoder>,
                            .sparse_decoder = MakeSparseDecoder,
                            .lossless = true,
                            .varies = true};

}  // namespace downpour
