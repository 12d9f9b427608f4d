// The bytes of an event log's records, as README.md describes them, and back. For event_log.cc alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/frame.h"
#include "proto/limits.h"
#include "ps/event.h"
#include "ps/event_log.h"
#include "ps/fields.h"

namespace downpour::ps {

// Numbers in the file: never reused, never changed.
enum class RecordKind : uint8_t {
  kHeader = 1,
  kMark = 2,
  kBrokenOff = 3,
  kCreateTable = 16,
  kJoin = 17,
  kLeave = 18,
  kHangup = 19,
  kSet = 20,
  kPush = 21,
  kPull = 22,
  kTick = 23,
  kDrain = 24,
  kChange = 25,
  kCheckpoint = 26,
  kRestore = 27,
};

// The most that a record's head may claim: a route, a frame's header, its contributors and its payload; or a part's
// state.
inline constexpr uint64_t kMaxRecordBodyBytes =
    std::max(12 + kFrameHeaderBytes + kMaxContributors * kContributorBytes + kMaxFramePayloadBytes,
             8 + kMaxPartStateBytes);

struct EncodedRecord {
  RecordKind kind;
  std::string body;
  const Payload* payload = nullptr;  // follows the body
  absl::Status status;  // why there is no such record: a frame that DecodeFrameHeader would not take

  size_t size() const { return body.size() + (payload == nullptr ? 0 : payload->size()); }
};

EncodedRecord EncodeRecord(const Event& event);
EncodedRecord EncodeRecord(const Mark& mark);
EncodedRecord EncodeRecord(const BrokenOff& end);

// Trusts nothing. `bytes` are in `owner`, and payloads refer to them. DataLoss, with what makes no sense.
absl::StatusOr<std::variant<Event, Mark, BrokenOff>> DecodeRecord(uint32_t kind,
                                                                  const std::shared_ptr<const std::byte[]>& owner,
                                                                  std::span<const std::byte> bytes);

}  // namespace downpour::ps
