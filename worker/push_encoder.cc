#include "worker/push_encoder.h"

#include <utility>

#include "proto/codec/part_layout.h"

namespace downpour::worker {

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
      added_(layouts_.size()),
      averaged_(layouts_.size()) {}

CodecId PushEncoder::CodecFor(PushContent content) const {
  const bool fits = content != PushContent::kParameters || codecs_.push->for_parameters;
  return fits ? codecs_.push->id : CodecId::kRaw;
}

void PushEncoder::Encode(PushContent content, uint32_t part, std::span<const float> values, ByteBuffer* payload) {
  const bool averaged = content == PushContent::kParameters;
  std::unique_ptr<PartEncoder>& encoder = (averaged ? averaged_ : added_)[part];
  if (encoder == nullptr) {
    encoder = std::make_unique<PartEncoder>(*codecs_.push, codecs_.settings, layouts_[part],
                                            codecs_.feedback && !averaged, seed_ * layouts_.size() + part);
  }
  encoder->Encode(values, payload);
}

}  // namespace downpour::worker
