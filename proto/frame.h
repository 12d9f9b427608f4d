// The header that stands before every payload on the data plane. Its bytes are described in proto/README.md.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/payload.h"

namespace downpour {

inline constexpr size_t kFrameHeaderBytes = 96;
inline constexpr uint8_t kFrameVersion = 1;
inline constexpr size_t kMaxPartBytes = 64 << 20;  // of floats

// What a part of so many bytes may take encoded, at worst: what travels raw, in whose places the codec may say as much again,
// and what stands around them.
constexpr size_t MostPayloadBytes(size_t part_bytes) { return 2 * part_bytes + 4096; }
inline constexpr size_t kMaxFramePayloadBytes = MostPayloadBytes(kMaxPartBytes);

// Numbers on the wire: never reused, never changed.
enum class FrameKind : uint8_t {
  kHello = 1,    // worker: the first frame; says who it is
  kWelcome = 2,  // server: the answer; `sequence` is the number of payload bytes that may be unacknowledged
  kSet = 3,      // worker: first values of a part
  kPush = 4,     // worker: a gradient of a part
  kAck = 5,      // server: what became of a set or a push; `reason` is kNone where it was taken
  kPull = 6,     // worker: asks for a part as of `clock`
  kValues = 7,   // server: the part
  kRefused = 8,  // server: a pull that can't be answered, or why the stream ends; the payload is a sentence
};

// Why a frame was not taken. Numbers on the wire.
enum class Refusal : uint8_t {
  kNone = 0,
  kDuplicate = 1,      // applied before; the sender may forget it
  kFenced = 2,         // another attempt has taken the partition since, or nobody gave this fence
  kNotFinite = 3,      // a NaN or an infinity in the gradient
  kClockClosed = 4,    // the clock was closed without this push
  kClockAhead = 5,     // the push runs ahead of what the mode allows
  kMalformed = 6,      // header or length against the table
  kWrongMap = 7,       // another version of the shard map
  kNotSet = 8,         // the part has no values yet
  kNoMembers = 9,      // the clock that is asked for can't close: the workers it waits for never came or are gone
  kOverload = 10,      // more in flight than the credit allows
  kShuttingDown = 11,  // the server drains
  kLeaseEnded = 12,    // the lease of this fence was given back or ran out
  kTooOld = 13,        // the parameters behind a gradient have had more updates since than max_age allows
  kReadTimeout = 14,   // slower workers kept a read waiting for too long
  kNewSettings = 15,   // made under settings that no longer count at its clock, or that the server does not know
  kWrongContent = 16,  // the push carries something else than the sync mode exchanges
  kAlone = 17,         // not with others: the sender sends it by itself
};

inline constexpr size_t kRefusalCount = static_cast<size_t>(Refusal::kAlone) + 1;

// The name used in logs, metrics and messages, e.g. "not_finite"; "unknown" for a number that is none.
absl::string_view RefusalName(Refusal reason);
absl::string_view FrameKindName(FrameKind kind);

// How a payload's values are encoded (proto/codec/). Numbers on the wire: never reused, never changed.
enum class CodecId : uint8_t {
  kRaw = 1,
  kBf16 = 2,
  kFp16 = 3,
  kInt8 = 4,
  kOneBit = 5,
  kTopK = 6,
  kThreshold = 7,
  kRandomK = 8,
  kPowerSgd = 9,
  kSparse = 10,
};
inline constexpr CodecId kLastCodec = CodecId::kSparse;

// What a push carries, and so what a server does with it. Numbers on the wire.
enum class PushContent : uint8_t {
  kGradient = 0,    // goes through the optimizer
  kParameters = 1,  // are averaged
  kDifference = 2,  // is added
};

// Where a payload is. Numbers on the wire.
enum class PayloadPlace : uint8_t {
  kFollows = 0,  // behind the header
  kShared = 1,   // in memory that both ends have mapped (shared_region.h); behind the header stands where
};

// What stands behind the header of a frame whose payload is shared: u64 offset, u64 bytes.
inline constexpr size_t kSharedPlaceBytes = 16;

struct FrameHeader {
  FrameKind kind = FrameKind::kHello;
  CodecId codec = CodecId::kRaw;
  Refusal reason = Refusal::kNone;
  uint64_t job = 0;            // JobId(name)
  uint32_t map_version = 0;
  uint32_t table = 0;
  uint32_t part = 0;
  uint32_t worker = 0;         // partition
  uint64_t fence = 0;
  uint64_t clock = 0;          // in kPush the clock that it is for, in kPull the least to see, in kValues the one seen
  uint64_t sequence = 0;       // of the push, from 1; echoed in its kAck. A pull's own number, echoed in kValues
  uint64_t position = 0;       // samples of the partition that this push completes
  uint64_t version = 0;        // updates in the part: in kPush those the gradient was computed from, in its kAck
                               // those that had been applied before it
  uint32_t samples = 0;        // samples behind a push
  uint32_t elements = 0;       // floats, decoded
  uint32_t payload_bytes = 0;  // bytes that follow the header
  PushContent content = PushContent::kGradient;
  PayloadPlace place = PayloadPlace::kFollows;  // where it travels; behind a stream's edges no frame is shared
  uint16_t contributors = 0;   // that a push names between header and payload
  uint32_t settings = 0;       // version of the sync settings that a push or pull was made under

  friend bool operator==(const FrameHeader&, const FrameHeader&) = default;
};

// A worker, besides the sender, whose gradient is in a push: what the header of its own would say. Workers of one host
// that combine theirs send them so.
struct Contributor {
  uint32_t worker = 0;
  uint32_t samples = 0;
  uint64_t fence = 0;
  uint64_t clock = 0;
  uint64_t sequence = 0;
  uint64_t position = 0;
  uint64_t version = 0;

  friend bool operator==(const Contributor&, const Contributor&) = default;
};

inline constexpr size_t kContributorBytes = 48;
inline constexpr uint16_t kMaxContributors = 1024;

// The job's number in frames: the first 8 bytes of a hash of its name (FNV-1a, 64 bits).
uint64_t JobId(absl::string_view name);

std::array<std::byte, kFrameHeaderBytes> EncodeFrameHeader(const FrameHeader& header);

// Checks magic, version, known kind, codec, reason and place, reserved bytes, that only a push has contributors, and
// that a raw payload's length is that of its elements, or that of a place. Says which field is wrong. Trusts nothing;
// the caller checks the rest against its tables.
absl::StatusOr<FrameHeader> DecodeFrameHeader(std::span<const std::byte> bytes);

std::vector<std::byte> EncodeContributors(std::span<const Contributor> contributors);
// `bytes` are whole contributors.
std::vector<Contributor> DecodeContributors(std::span<const std::byte> bytes);

// A frame as it travels inside a process.
struct Message {
  FrameHeader header;
  Payload payload;
  std::vector<Contributor> contributors = {};  // as many as the header says
};

// How many workers' gradients are in a push. The sender's is not where its sequence is 0, as it may be with others.
inline size_t ContributionCount(const Message& push) {
  return push.contributors.size() + (push.contributors.empty() || push.header.sequence != 0 ? 1 : 0);
}

// Visits a push as the headers of the pushes that are in it, one for each worker, the sender's own first. All else in them
// is the push's.
template <typename Visit>
void ForEachContribution(const Message& push, Visit visit) {
  if (push.contributors.empty()) return visit(push.header);
  FrameHeader header = push.header;
  header.contributors = 0;
  if (header.sequence != 0) visit(static_cast<const FrameHeader&>(header));
  for (const Contributor& one : push.contributors) {
    header.worker = one.worker;
    header.samples = one.samples;
    header.fence = one.fence;
    header.clock = one.clock;
    header.sequence = one.sequence;
    header.position = one.position;
    header.version = one.version;
    visit(static_cast<const FrameHeader&>(header));
  }
}

}  // namespace downpour
