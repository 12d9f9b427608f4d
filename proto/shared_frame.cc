#include "proto/shared_frame.h"

#include <array>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"

namespace downpour {
namespace {

using PlaceBytes = std::array<std::byte, kSharedPlaceBytes>;

bool CarriesValues(FrameKind kind) {
  return kind == FrameKind::kSet || kind == FrameKind::kPush || kind == FrameKind::kValues;
}

Payload EncodePlace(uint64_t offset, uint64_t size) {
  auto bytes = std::make_shared<PlaceBytes>();
  for (int i = 0; i < 8; ++i) {
    (*bytes)[i] = static_cast<std::byte>(offset >> (8 * i));
    (*bytes)[8 + i] = static_cast<std::byte>(size >> (8 * i));
  }
  const Payload::Bytes all(*bytes);
  return Payload(std::move(bytes), std::vector<Payload::Bytes>{all});
}

}  // namespace

Message ToShared(const SharedRegion* region, Message message) {
  FrameHeader& header = message.header;
  const bool pull = header.kind == FrameKind::kPull;
  if (!pull && !CarriesValues(header.kind)) return message;
  if (region != nullptr && message.payload.chunks().size() == 1 && header.codec == CodecId::kRaw) {
    const Payload::Bytes piece = message.payload.chunks().front();
    const std::span<std::byte> all = region->bytes();
    // Pointers that may be into different memory have an order only by std::less.
    const std::less<const std::byte*> before;
    const bool within =
        !before(piece.data(), all.data()) && !before(all.data() + all.size(), piece.data() + piece.size());
    if (within && (piece.data() - all.data()) % kRegionAlignment == 0 && !piece.empty()) {
      header.place = PayloadPlace::kShared;
      header.payload_bytes = kSharedPlaceBytes;
      message.payload = EncodePlace(piece.data() - all.data(), piece.size());
      return message;
    }
  }
  if (pull) message.payload = Payload();
  return message;
}

absl::StatusOr<Message> FromShared(const std::shared_ptr<SharedRegion>& region, Message message) {
  FrameHeader& header = message.header;
  const bool pull = header.kind == FrameKind::kPull;
  if (header.place != PayloadPlace::kShared || (!pull && !CarriesValues(header.kind))) return message;
  if (region == nullptr) {
    return absl::InvalidArgumentError("a payload in shared memory, and this stream has agreed on none");
  }
  PlaceBytes bytes;
  if (message.payload.size() != bytes.size() || !PayloadReader(message.payload).Read(bytes)) {
    return absl::InvalidArgumentError("a place in shared memory that is none");
  }
  uint64_t offset = 0;
  uint64_t size = 0;
  for (int i = 7; i >= 0; --i) {
    offset = offset << 8 | static_cast<uint64_t>(bytes[i]);
    size = size << 8 | static_cast<uint64_t>(bytes[8 + i]);
  }
  const std::span<std::byte> all = region->bytes();
  if (offset > all.size() || size > all.size() - offset) {
    return absl::InvalidArgumentError(absl::StrCat("a payload of ", size, " bytes at ", offset,
                                                   " of shared memory, which has ", all.size(), " bytes"));
  }
  if (offset % kRegionAlignment != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("a payload at ", offset, " of shared memory; it should be a multiple of ", kRegionAlignment));
  }
  if (size > kMaxFramePayloadBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a payload of ", size, " bytes is over the limit of ", kMaxFramePayloadBytes));
  }
  if (pull ? size == 0 || size % sizeof(float) != 0 : size != uint64_t{header.elements} * sizeof(float)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a raw payload of ", size, " bytes in shared memory can't hold ", header.elements, " floats"));
  }
  header.place = PayloadPlace::kFollows;
  header.payload_bytes = pull ? 0 : static_cast<uint32_t>(size);
  message.payload = Payload(region, std::vector<Payload::Bytes>{all.subspan(offset, size)});
  return message;
}

}  // namespace downpour
