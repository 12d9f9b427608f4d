#include "ps/codec.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace downpour::ps {
namespace {

class RawReader final : public BlockReader {
 public:
  explicit RawReader(const Payload& payload) : chunks_(payload.chunks()) {}

  std::span<const float> Next(size_t limit, std::span<float> scratch) override {
    limit = std::min(limit, scratch.size());
    while (chunk_ < chunks_.size() && offset_ == chunks_[chunk_].size()) {
      ++chunk_;
      offset_ = 0;
    }
    if (chunk_ == chunks_.size()) return {};
    const std::byte* at = chunks_[chunk_].data() + offset_;
    const size_t whole = std::min(limit, (chunks_[chunk_].size() - offset_) / sizeof(float));
    if (whole == 0) return OneAcrossChunks(scratch);
    offset_ += whole * sizeof(float);
    if (reinterpret_cast<uintptr_t>(at) % alignof(float) == 0)
      return {reinterpret_cast<const float*>(at), whole};
    std::memcpy(scratch.data(), at, whole * sizeof(float));
    return scratch.first(whole);
  }

 private:
  std::span<const float> OneAcrossChunks(std::span<float> scratch) {
    std::array<std::byte, sizeof(float)> bytes;
    for (size_t filled = 0; filled < bytes.size();) {
      if (chunk_ == chunks_.size()) return {};
      const size_t n = std::min(bytes.size() - filled, chunks_[chunk_].size() - offset_);
      std::memcpy(bytes.data() + filled, chunks_[chunk_].data() + offset_, n);
      filled += n;
      offset_ += n;
      if (offset_ == chunks_[chunk_].size()) {
        ++chunk_;
        offset_ = 0;
      }
    }
    std::memcpy(scratch.data(), bytes.data(), sizeof(float));
    return scratch.first(1);
  }

  const std::vector<Payload::Bytes>& chunks_;
  size_t chunk_ = 0;
  size_t offset_ = 0;
};

constexpr std::array kCodecs = {
    Codec{CodecId::kRaw, "raw", [](uint64_t elements) { return elements * sizeof(float); },
          [](const Payload& payload) -> std::unique_ptr<BlockReader> {
            return std::make_unique<RawReader>(payload);
          }},
};

}  // namespace

const Codec* FindCodec(CodecId id) {
  for (const Codec& codec : kCodecs) {
    if (codec.id == id) return &codec;
  }
  return nullptr;
}

}  // namespace downpour::ps
