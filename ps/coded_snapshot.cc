#include "ps/coded_snapshot.h"

#include <vector>

namespace downpour::ps {
namespace {

PartLayout Whole(uint32_t elements) {
  PartLayout layout;
  layout.elements = elements;
  return layout;
}

}  // namespace

CodedSnapshot::CodedSnapshot(const Codec& codec, uint32_t elements)
    : encoder_(codec, {}, Whole(elements), /*feedback=*/false, /*seed=*/0) {}

const Payload& CodedSnapshot::Of(std::span<const float> values, uint64_t version) {
  if (payload_.size() != 0 && version_ == version) return payload_;
  payload_ = Payload();
  const std::shared_ptr<ByteBuffer> buffer = buffers_.Take();
  encoder_.Encode(values, buffer.get());
  payload_ = Payload(buffer, std::vector<Payload::Bytes>{buffer->bytes()});
  version_ = version;
  return payload_;
}

}  // namespace downpour::ps
