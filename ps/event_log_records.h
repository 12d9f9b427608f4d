// The bytes of an event log's records, as README.md describes them, and back. For event_log.cc alone.
#pragma once

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
};

// The most that a record's head may claim: a route, a frame's header, its contributors and its payload.
inline constexpr uint64_t kMaxRecordBodyBytes =
    12 + kFrameHeaderBytes + kMaxContributors * kContributorBytes + kMaxFramePayloadBytes;

// Integers, little endian, at the end of a string.
class Fields {
 public:
  template <typename T>
  Fields& Put(T value) {
    for (size_t i = 0; i < sizeof(T); ++i) {
      bytes_.push_back(static_cast<char>(static_cast<uint64_t>(value) >> (8 * i)));
    }
    return *this;
  }
  Fields& Put(const std::string& text) {
    bytes_ += text;
    return *this;
  }
  std::string Take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// The same from the front of some bytes. What is not there reads as zero, and the whole is not ok.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <typename T>
  T Get() {
    if (bytes_.size() < sizeof(T)) {
      ok_ = false;
      bytes_ = {};
      return T{};
    }
    uint64_t value = 0;
    for (size_t i = 0; i < sizeof(T); ++i) value |= static_cast<uint64_t>(bytes_[i]) << (8 * i);
    bytes_ = bytes_.subspan(sizeof(T));
    return static_cast<T>(value);
  }
  bool GetBool() {
    const auto value = Get<uint8_t>();
    ok_ = ok_ && value <= 1;
    return value != 0;
  }
  std::span<const std::byte> Rest() { return std::exchange(bytes_, {}); }

  size_t left() const { return bytes_.size(); }
  // Whether all was there, and nothing else.
  bool complete() const { return ok_ && bytes_.empty(); }

 private:
  std::span<const std::byte> bytes_;
  bool ok_ = true;
};

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
