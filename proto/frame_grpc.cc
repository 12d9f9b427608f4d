#include "proto/frame_grpc.h"

#include <array>
#include <memory>
#include <utility>
#include <vector>

#include <grpcpp/support/slice.h>

#include "absl/strings/str_cat.h"

namespace downpour {
namespace {

using Owner = std::shared_ptr<const void>;

grpc::Slice BorrowedSlice(const Payload& payload, const Payload::Bytes& chunk) {
  return grpc::Slice(
      const_cast<std::byte*>(chunk.data()), chunk.size(), [](void* owner) { delete static_cast<Owner*>(owner); },
      new Owner(payload.owner()));
}

}  // namespace

grpc::ByteBuffer ToByteBuffer(const Message& message) {
  const auto header = EncodeFrameHeader(message.header);
  std::vector<grpc::Slice> slices;
  slices.reserve(1 + message.payload.chunks().size());
  slices.emplace_back(header.data(), header.size());
  for (const Payload::Bytes& chunk : message.payload.chunks()) slices.push_back(BorrowedSlice(message.payload, chunk));
  return grpc::ByteBuffer(slices.data(), slices.size());
}

absl::StatusOr<Message> FromByteBuffer(const grpc::ByteBuffer& buffer) {
  auto slices = std::make_shared<std::vector<grpc::Slice>>();
  if (!buffer.Dump(slices.get()).ok()) return absl::InvalidArgumentError("a frame that can't be read");
  std::vector<Payload::Bytes> chunks;
  chunks.reserve(slices->size());
  for (const grpc::Slice& slice : *slices) {
    chunks.emplace_back(reinterpret_cast<const std::byte*>(slice.begin()), slice.size());
  }
  std::array<std::byte, kFrameHeaderBytes> bytes;
  size_t filled = 0;
  size_t first = 0;
  for (; first < chunks.size() && filled < bytes.size(); ++first) {
    const size_t n = std::min(chunks[first].size(), bytes.size() - filled);
    std::copy_n(chunks[first].begin(), n, bytes.begin() + filled);
    filled += n;
    chunks[first] = chunks[first].subspan(n);
    if (!chunks[first].empty()) break;
  }
  absl::StatusOr<FrameHeader> header = DecodeFrameHeader(std::span(bytes).first(filled));
  if (!header.ok()) return header.status();
  chunks.erase(chunks.begin(), chunks.begin() + first);
  Message message{*header, Payload(std::move(slices), std::move(chunks))};
  if (message.payload.size() != header->payload_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("the header says ", header->payload_bytes,
                                                   " bytes of payload, but ", message.payload.size(), " follow"));
  }
  return message;
}

}  // namespace downpour
