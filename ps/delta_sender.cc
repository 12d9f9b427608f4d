#include "ps/delta_sender.h"

#include <algorithm>
#include <utility>

#include "kernels/vector_ops.h"
#include "proto/codec/block_reader.h"
#include "proto/codec/part_encoder.h"

namespace downpour::ps {

DeltaSender::DeltaSender(const Codec& codec, const CodecSettings& settings, PartLayout layout, uint64_t seed)
    : codec_(codec.id),
      layout_(std::move(layout)),
      encoder_(codec.encoder({layout_.elements, layout_.rows, settings, seed})),
      has_(layout_.elements) {}

bool DeltaSender::Knows(uint64_t fence, uint64_t number) const {
  return number != 0 && number == number_ && fence == fence_;
}

void DeltaSender::SendWhole(std::span<const float> values, uint64_t fence, uint64_t number) {
  std::copy(values.begin(), values.end(), has_.data());
  finite_ = kernels::AllFinite(values);
  fence_ = fence;
  number_ = number;
}

Payload DeltaSender::SendDifference(std::span<const float> values, uint64_t number, std::span<float> scratch) {
  std::copy(values.begin(), values.end(), scratch.begin());
  const std::span<float> difference = scratch.first(values.size());
  std::span<float> has(has_.data(), has_.size());
  kernels::Axpy(-1, has, difference);
  const std::shared_ptr<ByteBuffer> buffer = buffers_.Take();
  EncodePart(layout_, difference, encoder_.get(), buffer.get());
  Payload payload(buffer, std::vector<Payload::Bytes>{buffer->bytes()});
  // Just as the worker will do it, to the same bits.
  const auto reader = BlockReader::Open(codec_, payload, layout_.elements);
  while (reader.ok() && !has.empty()) {
    const std::span<const float> block = (*reader)->Next(has.size(), scratch);
    kernels::Axpy(1, block, has.first(block.size()));
    has = has.subspan(block.size());
  }
  number_ = number;
  return payload;
}

}  // namespace downpour::ps
