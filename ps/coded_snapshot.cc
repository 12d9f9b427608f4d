#include "ps/coded_snapshot.h"

#include <utility>
#include <vector>

namespace downpour::ps {
CodedSnapshot::CodedSnapshot(const Codec& codec, PartLayout layout)
    : encoder_(codec, {}, std::move(layout), /*feedback=*/false, /*seed=*/0) {}

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
