#include "proto/codec/part_encoder.h"

#include <algorithm>
#include <utility>

#include "kernels/vector_ops.h"

namespace downpour {

void EncodePart(const PartLayout& layout, std::span<float> values, Encoder* encoder, ByteBuffer* payload) {
  payload->Clear();
  payload->Append(static_cast<uint32_t>(layout.exempt.size()));
  payload->AppendAll(std::span<const ExemptRange>(layout.exempt));
  for (const ExemptRange& range : layout.exempt) {
    const std::span<float> exempt = values.subspan(range.begin, range.end - range.begin);
    payload->AppendAll(std::span<const float>(exempt));
    kernels::Zero(exempt);
  }
  encoder->Encode(values, payload);
  // What the codec made of the zeros is not used.
  for (const ExemptRange& range : layout.exempt) {
    kernels::Zero(values.subspan(range.begin, range.end - range.begin));
  }
}

PartEncoder::PartEncoder(const Codec& codec, const CodecSettings& settings, PartLayout layout, bool feedback,
                         uint64_t seed)
    : layout_(std::move(layout)), feedback_(feedback), seed_(seed), carried_(layout_.elements) {
  Use(codec, settings);
}

void PartEncoder::Use(const Codec& codec, const CodecSettings& settings) {
  if (codec_ == &codec && settings_ == settings) return;
  const bool same = std::exchange(codec_, &codec) == &codec;
  settings_ = settings;
  if (same && encoder_ != nullptr && encoder_->Use(settings)) return;
  // Another seed each time, or the same draws would come again.
  const uint64_t seed = seed_ + 0x9e3779b97f4a7c15 * changes_++;
  encoder_ = codec.id == CodecId::kRaw ? nullptr : codec.encoder({layout_.elements, layout_.rows, settings, seed});
}

void PartEncoder::Carry(size_t begin, std::span<const float> more) {
  if (!feedback_ || codec_->lossless) return;
  kernels::Axpy(1, more, std::span(carried_.data() + begin, more.size()));
  carries_ = true;
}

void PartEncoder::GiveCarried(std::span<float> values) {
  if (!std::exchange(carries_, false)) return;
  const std::span carried(carried_.data(), carried_.size());
  kernels::Axpy(1, carried, values);
  kernels::Zero(carried);
}

void PartEncoder::Encode(std::span<const float> values, ByteBuffer* payload) {
  if (!carries_ && encoder_ != nullptr && layout_.exempt.empty()) {
    payload->Clear();
    payload->Append(uint32_t{0});
    if (encoder_->EncodeWhole(values, payload)) return;
  }
  const std::span carried(carried_.data(), carried_.size());
  if (feedback_) {
    kernels::Axpy(1, values, carried);
  } else {
    std::copy(values.begin(), values.end(), carried.begin());
  }
  carries_ = feedback_ && !codec_->lossless;
  if (encoder_ != nullptr) return EncodePart(layout_, carried, encoder_.get(), payload);
  payload->Clear();
  payload->AppendAll(std::span<const float>(carried));
  kernels::Zero(carried);
}

}  // namespace downpour
