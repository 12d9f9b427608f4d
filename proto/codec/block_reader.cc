#include "proto/codec/block_reader.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/codec/byte_reader.h"

namespace downpour {
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
    if (reinterpret_cast<uintptr_t>(at) % alignof(float) == 0) return {reinterpret_cast<const float*>(at), whole};
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

// What decoders read lies in one piece.
struct Contiguous {
  explicit Contiguous(const Payload& payload) {
    if (payload.chunks().size() == 1) {
      bytes = payload.chunks()[0];
      return;
    }
    copy = std::make_unique_for_overwrite<std::byte[]>(payload.size());
    PayloadReader(payload).Read({copy.get(), payload.size()});
    bytes = {copy.get(), payload.size()};
  }

  std::unique_ptr<std::byte[]> copy;
  std::span<const std::byte> bytes;
};

class CodedReader final : public BlockReader {
 public:
  CodedReader(Contiguous payload, std::vector<ExemptRange> exempt, std::span<const std::byte> values,
              std::unique_ptr<Decoder> decoder, uint32_t elements)
      : payload_(std::move(payload)),
        exempt_(std::move(exempt)),
        values_(values),
        decoder_(std::move(decoder)),
        left_(elements) {}

  std::span<const float> Next(size_t limit, std::span<float> scratch) override {
    if (unread_.empty()) DecodeBlock();
    const auto next = unread_.first(std::min({limit, scratch.size(), unread_.size()}));
    unread_ = unread_.subspan(next.size());
    return next;
  }

 private:
  void DecodeBlock() {
    const std::span<float> block = std::span(block_).first(std::min<size_t>(left_, kBlockElements));
    if (block.empty()) return;
    decoder_->Decode(block);
    while (range_ < exempt_.size() && exempt_[range_].begin < at_ + block.size()) {
      const size_t begin = std::max<size_t>(exempt_[range_].begin, at_);
      const size_t end = std::min<size_t>(exempt_[range_].end, at_ + block.size());
      values_.ReadAll(block.subspan(begin - at_, end - begin));
      if (end < exempt_[range_].end) break;
      ++range_;
    }
    at_ += block.size();
    left_ -= block.size();
    unread_ = block;
  }

  const Contiguous payload_;
  const std::vector<ExemptRange> exempt_;
  ByteReader values_;  // of the exempt ranges
  const std::unique_ptr<Decoder> decoder_;
  size_t at_ = 0;
  size_t left_;
  size_t range_ = 0;
  std::array<float, kBlockElements> block_;
  std::span<const float> unread_;
};

absl::StatusOr<std::unique_ptr<BlockReader>> OpenCoded(const Codec& codec, const Payload& payload, uint32_t elements) {
  Contiguous contiguous(payload);
  ByteReader in(contiguous.bytes);
  uint32_t ranges = 0;
  if (!in.Read(&ranges) || ranges > in.left() / sizeof(ExemptRange)) {
    return absl::InvalidArgumentError("the ranges that travel raw don't fit");
  }
  std::vector<ExemptRange> exempt(ranges);
  in.ReadAll(std::span(exempt));
  uint64_t raw = 0;
  uint32_t at = 0;
  for (const ExemptRange& range : exempt) {
    if (range.begin < at || range.end <= range.begin || range.end > elements) {
      return absl::InvalidArgumentError(absl::StrCat("floats ", range.begin, " to ", range.end, " travel raw"));
    }
    at = range.end;
    raw += range.end - range.begin;
  }
  if (raw * sizeof(float) > in.left()) return absl::InvalidArgumentError("the floats that travel raw don't fit");
  const auto values = in.Take(raw * sizeof(float));
  auto decoder = codec.decoder(in.rest(), elements);
  if (!decoder.ok()) return decoder.status();
  return std::make_unique<CodedReader>(std::move(contiguous), std::move(exempt), values, *std::move(decoder), elements);
}

}  // namespace

absl::StatusOr<std::unique_ptr<BlockReader>> BlockReader::Open(CodecId id, const Payload& payload, uint32_t elements) {
  if (id == CodecId::kRaw) {
    if (payload.size() != uint64_t{elements} * sizeof(float)) {
      return absl::InvalidArgumentError(absl::StrCat(payload.size(), " bytes are not ", elements, " floats"));
    }
    return std::make_unique<RawReader>(payload);
  }
  const Codec* const codec = FindCodec(id);
  if (codec == nullptr) return absl::InvalidArgumentError(absl::StrCat("no codec ", static_cast<int>(id)));
  auto reader = OpenCoded(*codec, payload, elements);
  if (!reader.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("no ", codec->name, " payload: ", reader.status().message()));
  }
  return reader;
}

}  // namespace downpour
