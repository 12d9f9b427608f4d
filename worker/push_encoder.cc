#include "worker/push_encoder.h"

#include <algorithm>
#include <utility>

#include "kernels/vector_ops.h"
#include "proto/codec/block_reader.h"
#include "proto/codec/part_layout.h"

namespace downpour::worker {
namespace {

constexpr double kBytesOfTopK = 5.5;  // of each value that it sends, its place included
constexpr double kLeastShare = 1e-6;
constexpr double kForgetting = 0.95;  // of a size, each time that it is too large

}  // namespace

absl::StatusOr<std::unique_ptr<PushEncoder>> PushEncoder::Create(const Job& job, uint32_t partition,
                                                                 const TableSpec& table, const ShardMap& map) {
  const auto codecs = WireCodecsOf(job);
  if (!codecs.ok()) return codecs.status();
  std::vector<PartLayout> layouts;
  for (const ShardMap::Part& part : map.tables(0).parts()) {
    layouts.push_back(LayoutOf(table, part.begin(), part.end(), codecs->min_elements));
  }
  // Each worker draws by itself.
  const uint64_t seed = job.seed() * 1'000'003 + partition;
  return std::unique_ptr<PushEncoder>(new PushEncoder(*codecs, seed, std::move(layouts)));
}

PushEncoder::PushEncoder(const WireCodecs& codecs, uint64_t seed, std::vector<PartLayout> layouts)
    : codecs_(codecs),
      seed_(seed),
      layouts_(std::move(layouts)),
      level_(codecs.levels[0]),
      budget_(codecs.push_bytes_per_second),
      added_(layouts_.size()),
      averaged_(layouts_.size()) {
  for (const PartLayout& layout : layouts_) {
    uint64_t exempt = 0;
    for (const ExemptRange& range : layout.exempt) exempt += range.end - range.begin;
    exempt_bytes_ += exempt * sizeof(float);
    coded_elements_ += layout.elements - exempt;
  }
}

void PushEncoder::SetLevel(const WireLevel& level) {
  level_ = level;
  level_bytes_ = 0;
}

WireLevel PushEncoder::Fitting(double bytes) const {
  const double values = (bytes - static_cast<double>(exempt_bytes_)) / kBytesOfTopK;
  const double share = values / static_cast<double>(std::max<uint64_t>(1, coded_elements_));
  const double most = level_.push->id == CodecId::kTopK ? level_.settings.share : 1.0;
  return {&kTopKCodec, TopKSettings(std::clamp(share, kLeastShare, most))};
}

PushEncoder::Plan PushEncoder::Begin(PushContent content, double now) {
  content_ = content;
  if (content == PushContent::kParameters) {
    now_ = {codecs_.push->for_parameters ? codecs_.push : &kRawCodec, codecs_.settings};
    return {now_.push, now_.push->id != CodecId::kRaw};
  }
  now_ = level_;
  const auto whole = static_cast<double>(exempt_bytes_ + coded_elements_ * sizeof(float));
  if (budget_.bounded()) {
    budget_.Spend(std::exchange(bytes_, 0));
    const double room = budget_.At(now);
    // Of a codec whose size is not known yet one push is tried, which may overdraw.
    const bool raw = level_.push->id == CodecId::kRaw;
    const double expected = raw ? whole : level_bytes_;
    if (expected > room || room <= 0) {
      now_ = Fitting(room);
      // What was large once need not be for ever.
      if (level_.push->varies) level_bytes_ *= kForgetting;
    }
  }
  const bool waits =
      std::ranges::any_of(added_, [](const auto& encoder) { return encoder != nullptr && encoder->carries(); });
  const bool encoded = now_.push->id != CodecId::kRaw || waits;
  if (!encoded) bytes_ = whole;
  return {now_.push, encoded};
}

void PushEncoder::Encode(uint32_t part, std::span<const float> values, ByteBuffer* payload) {
  const bool averaged = content_ == PushContent::kParameters;
  std::unique_ptr<PartEncoder>& encoder = (averaged ? averaged_ : added_)[part];
  if (encoder == nullptr) {
    encoder = std::make_unique<PartEncoder>(*now_.push, now_.settings, layouts_[part], codecs_.feedback && !averaged,
                                            seed_ * layouts_.size() + part);
  }
  encoder->Use(*now_.push, now_.settings);
  encoder->Encode(values, payload);
  bytes_ += static_cast<double>(payload->size());
  if (part + 1 == layouts_.size() && now_ == level_) level_bytes_ = bytes_;
}

void PushEncoder::GiveCarried(uint32_t part, std::span<float> values) {
  if (PartEncoder* const encoder = added_[part].get()) encoder->GiveCarried(values);
}

void PushEncoder::TakeBack(uint32_t part, std::span<const float> values, const Message& sent) {
  PartEncoder* const encoder = added_[part].get();
  if (encoder == nullptr) return;
  auto reader = BlockReader::Open(sent.header.codec, sent.payload, static_cast<uint32_t>(values.size()));
  if (!reader.ok()) return;
  // What is carried is what the payload does not say of them: both are made undone.
  std::vector<float> scratch(kBlockElements);
  std::vector<float> back(kBlockElements);
  for (size_t at = 0; at < values.size();) {
    const std::span<const float> block = (*reader)->Next(kBlockElements, scratch);
    if (block.empty()) return;
    const std::span<float> difference = std::span(back).first(block.size());
    std::ranges::copy(block, difference.begin());
    kernels::Axpy(-1, values.subspan(at, block.size()), difference);
    encoder->Carry(at, difference);
    at += block.size();
  }
}

}  // namespace downpour::worker
