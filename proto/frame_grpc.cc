#include "proto/frame_grpc.h"

#include <algorithm>
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

// Moves what stands first in `chunks` to `to`, as much as there is room; how much that was.
size_t TakeFront(std::vector<Payload::Bytes>* chunks, std::span<std::byte> to) {
  size_t filled = 0;
  size_t gone = 0;
  while (gone < chunks->size() && filled < to.size()) {
    Payload::Bytes& chunk = (*chunks)[gone];
    const size_t n = std::min(chunk.size(), to.size() - filled);
    std::copy_n(chunk.begin(), n, to.begin() + filled);
    filled += n;
    chunk = chunk.subspan(n);
    if (chunk.empty()) ++gone;
  }
  chunks->erase(chunks->begin(), chunks->begin() + gone);
  return filled;
}

}  // namespace

grpc::ByteBuffer ToByteBuffer(const Message& message) {
  const auto header = EncodeFrameHeader(message.header);
  std::vector<grpc::Slice> slices;
  slices.reserve(2 + message.payload.chunks().size());
  slices.emplace_back(header.data(), header.size());
  if (!message.contributors.empty()) {
    const std::vector<std::byte> contributors = EncodeContributors(message.contributors);
    slices.emplace_back(contributors.data(), contributors.size());
  }
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
  absl::StatusOr<FrameHeader> header = DecodeFrameHeader(std::span(bytes).first(TakeFront(&chunks, bytes)));
  if (!header.ok()) return header.status();
  Message message{*header, {}, {}};
  if (header->contributors > 0) {
    std::vector<std::byte> contributors(header->contributors * kContributorBytes);
    if (TakeFront(&chunks, contributors) < contributors.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the header names ", header->contributors, " other workers, who do not follow"));
    }
    message.contributors = DecodeContributors(contributors);
  }
  message.payload = Payload(std::move(slices), std::move(chunks));
  if (message.payload.size() != header->payload_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("the header says ", header->payload_bytes,
                                                   " bytes of payload, but ", message.payload.size(), " follow"));
  }
  return message;
}

}  // namespace downpour
