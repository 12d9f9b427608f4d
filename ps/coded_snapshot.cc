#include "ps/coded_snapshot.h"

#include <algorithm>
#include <atomic>

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
  auto free = std::ranges::find_if(buffers_, [](const auto& buffer) { return buffer.use_count() == 1; });
  if (free == buffers_.end()) {
    buffers_.push_back(std::make_shared<ByteBuffer>());
    free = buffers_.end() - 1;
  }
  std::atomic_thread_fence(std::memory_order_acquire);  // what its last holder read, it has read
  encoder_.Encode(values, free->get());
  payload_ = Payload(*free, std::vector<Payload::Bytes>{(*free)->bytes()});
  version_ = version;
  return payload_;
}

}  // namespace downpour::ps
