#include "proto/codec/block_reader.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/vector_ops.h"
#include "proto/codec/byte_reader.h"
#include "proto/codec/coded_payload.h"
#include "proto/codec/sparse_reader.h"

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

class CodedReader final : public BlockReader {
 public:
  CodedReader(CodedPayload payload, std::unique_ptr<Decoder> decoder, uint32_t elements)
      : payload_(std::move(payload)),
        values_(payload_.exempt_values()),
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
    for (; range_ < payload_.exempt().size(); ++range_) {
      const ExemptRange& range = payload_.exempt()[range_];
      if (range.begin >= at_ + block.size()) break;
      const size_t begin = std::max<size_t>(range.begin, at_);
      const size_t end = std::min<size_t>(range.end, at_ + block.size());
      values_.ReadAll(block.subspan(begin - at_, end - begin));
      if (end < range.end) break;
    }
    at_ += block.size();
    left_ -= block.size();
    unread_ = block;
  }

  const CodedPayload payload_;
  ByteReader values_;  // of the exempt ranges
  const std::unique_ptr<Decoder> decoder_;
  size_t at_ = 0;
  size_t left_;
  size_t range_ = 0;
  std::array<float, kBlockElements> block_;
  std::span<const float> unread_;
};

absl::Status NoPayload(const Codec& codec, const absl::Status& why) {
  return absl::InvalidArgumentError(absl::StrCat("no ", codec.name, " payload: ", why.message()));
}

// AddPayload of a codec that has a SparseDecoder.
absl::Status AddSparse(const Codec& codec, const Payload& payload, std::span<float> to) {
  constexpr size_t kAtOnce = 1024;
  const auto elements = static_cast<uint32_t>(to.size());
  const auto coded = CodedPayload::Parse(payload, elements);
  if (!coded.ok()) return NoPayload(codec, coded.status());
  const auto decoder = codec.sparse_decoder(coded->encoded(), elements);
  if (!decoder.ok()) return NoPayload(codec, decoder.status());
  std::array<uint32_t, kAtOnce> places;
  std::array<float, kAtOnce> values;
  auto range = coded->exempt().begin();
  const auto end = coded->exempt().end();
  while (const size_t count = (*decoder)->Next(places, values)) {
    for (size_t i = 0; i < count; ++i) {
      while (range != end && range->end <= places[i]) ++range;
      if (range == end || places[i] < range->begin) to[places[i]] += values[i];
    }
  }
  ByteReader exempt(coded->exempt_values());
  for (const ExemptRange& exempted : coded->exempt()) {
    for (size_t at = exempted.begin; at < exempted.end;) {
      const auto block = std::span(values).first(std::min<size_t>(kAtOnce, exempted.end - at));
      exempt.ReadAll(block);
      kernels::Axpy(1, block, to.subspan(at, block.size()));
      at += block.size();
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<BlockReader>> OpenCoded(const Codec& codec, const Payload& payload, uint32_t elements) {
  auto coded = CodedPayload::Parse(payload, elements);
  if (!coded.ok()) return coded.status();
  auto decoder = codec.decoder(coded->encoded(), elements);
  if (!decoder.ok()) return decoder.status();
  return std::make_unique<CodedReader>(*std::move(coded), *std::move(decoder), elements);
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
  if (!reader.ok()) return NoPayload(*codec, reader.status());
  return reader;
}

absl::Status AddPayload(CodecId id, const Payload& payload, std::span<float> to) {
  const auto elements = static_cast<uint32_t>(to.size());
  const Codec* const codec = FindCodec(id);
  if (codec != nullptr && codec->sparse_decoder != nullptr) return AddSparse(*codec, payload, to);
  const auto reader = BlockReader::Open(id, payload, elements);
  if (!reader.ok()) return reader.status();
  std::array<float, kBlockElements> scratch;
  while (!to.empty()) {
    const std::span<const float> block = (*reader)->Next(to.size(), scratch);
    if (block.empty()) return absl::InternalError("too few values");
    kernels::Axpy(1, block, to.first(block.size()));
    to = to.subspan(block.size());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<uint64_t>> FirstNonFinite(CodecId codec, const Payload& payload, uint32_t elements) {
  const auto sparse = SparseReader::Open(codec, payload, elements);
  if (!sparse.ok()) return sparse.status();
  std::array<float, kBlockElements> scratch;
  if (*sparse != nullptr) {
    // Where the places are is of interest for one that is bad alone.
    bool good = true;
    while (const size_t count = good ? (*sparse)->Next({}, scratch) : 0) {
      good = kernels::AllFinite(std::span(scratch).first(count));
    }
    if (good) return std::nullopt;
  }
  const auto reader = BlockReader::Open(codec, payload, elements);
  if (!reader.ok()) return reader.status();
  for (uint64_t at = 0;;) {
    const std::span<const float> block = (*reader)->Next(kBlockElements, scratch);
    if (block.empty()) return std::nullopt;
    if (const auto bad = kernels::FirstNonFinite(block)) return std::optional(at + *bad);
    at += block.size();
  }
}

}  // namespace downpour
