#include "proto/frame.h"

#include "absl/strings/str_cat.h"

namespace downpour {
namespace {

constexpr uint32_t kMagic = 0x46575044;  // "DPWF"
constexpr size_t kReservedBytes[] = {92, 93, 94, 95};

// Writes integers of the header in order, little endian.
class Writer {
 public:
  explicit Writer(std::byte* at) : at_(at) {}
  template <typename T>
  void Put(T value) {
    for (size_t i = 0; i < sizeof(T); ++i) *at_++ = static_cast<std::byte>(static_cast<uint64_t>(value) >> (8 * i));
  }

 private:
  std::byte* at_;
};

class Reader {
 public:
  explicit Reader(const std::byte* at) : at_(at) {}
  template <typename T>
  T Get() {
    uint64_t value = 0;
    for (size_t i = 0; i < sizeof(T); ++i) value |= static_cast<uint64_t>(*at_++) << (8 * i);
    return static_cast<T>(value);
  }

 private:
  const std::byte* at_;
};

// A hello's and a welcome's lengths are for whoever opens regions to judge.
absl::Status CheckShared(const FrameHeader& header, bool carries_values) {
  if (header.kind == FrameKind::kHello || header.kind == FrameKind::kWelcome) return absl::OkStatus();
  if (!carries_values && header.kind != FrameKind::kPull) {
    return absl::InvalidArgumentError(
        absl::StrCat("a frame of kind ", FrameKindName(header.kind), " can't lie in shared memory"));
  }
  if (header.codec != CodecId::kRaw) return absl::InvalidArgumentError("only raw floats may lie in shared memory");
  if (header.payload_bytes != kSharedPlaceBytes) {
    return absl::InvalidArgumentError(absl::StrCat("a place in shared memory is told in ", kSharedPlaceBytes,
                                                   " bytes, not in ", header.payload_bytes));
  }
  return absl::OkStatus();
}

}  // namespace

absl::string_view RefusalName(Refusal reason) {
  switch (reason) {
    case Refusal::kNone: return "none";
    case Refusal::kDuplicate: return "duplicate";
    case Refusal::kFenced: return "fenced";
    case Refusal::kNotFinite: return "not_finite";
    case Refusal::kClockClosed: return "clock_closed";
    case Refusal::kClockAhead: return "clock_ahead";
    case Refusal::kMalformed: return "malformed";
    case Refusal::kWrongMap: return "wrong_map";
    case Refusal::kNotSet: return "not_set";
    case Refusal::kNoMembers: return "no_members";
    case Refusal::kOverload: return "overload";
    case Refusal::kShuttingDown: return "shutting_down";
    case Refusal::kLeaseEnded: return "lease_ended";
    case Refusal::kTooOld: return "too_old";
    case Refusal::kReadTimeout: return "read_timeout";
    case Refusal::kNewSettings: return "new_settings";
    case Refusal::kWrongContent: return "wrong_content";
    case Refusal::kAlone: return "alone";
  }
  return "unknown";
}

absl::string_view FrameKindName(FrameKind kind) {
  switch (kind) {
    case FrameKind::kHello: return "hello";
    case FrameKind::kWelcome: return "welcome";
    case FrameKind::kSet: return "set";
    case FrameKind::kPush: return "push";
    case FrameKind::kAck: return "ack";
    case FrameKind::kPull: return "pull";
    case FrameKind::kValues: return "values";
    case FrameKind::kRefused: return "refused";
  }
  return "unknown";
}

uint64_t JobId(absl::string_view name) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : name) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3;
  }
  return hash;
}

std::array<std::byte, kFrameHeaderBytes> EncodeFrameHeader(const FrameHeader& header) {
  std::array<std::byte, kFrameHeaderBytes> bytes{};
  Writer out(bytes.data());
  out.Put(kMagic);
  out.Put(kFrameVersion);
  out.Put(static_cast<uint8_t>(header.kind));
  out.Put(static_cast<uint8_t>(header.codec));
  out.Put(static_cast<uint8_t>(header.reason));
  out.Put(header.job);
  out.Put(header.map_version);
  out.Put(header.table);
  out.Put(header.part);
  out.Put(header.worker);
  out.Put(header.fence);
  out.Put(header.clock);
  out.Put(header.sequence);
  out.Put(header.position);
  out.Put(header.version);
  out.Put(header.samples);
  out.Put(header.elements);
  out.Put(header.payload_bytes);
  out.Put(static_cast<uint8_t>(header.content));
  out.Put(static_cast<uint8_t>(header.place));
  out.Put(header.contributors);
  out.Put(header.settings);
  return bytes;
}

std::vector<std::byte> EncodeContributors(std::span<const Contributor> contributors) {
  std::vector<std::byte> bytes(contributors.size() * kContributorBytes);
  Writer out(bytes.data());
  for (const auto& [worker, samples, fence, clock, sequence, position, version] : contributors) {
    out.Put(worker);
    out.Put(samples);
    for (const uint64_t value : {fence, clock, sequence, position, version}) out.Put(value);
  }
  return bytes;
}

std::vector<Contributor> DecodeContributors(std::span<const std::byte> bytes) {
  std::vector<Contributor> contributors(bytes.size() / kContributorBytes);
  Reader in(bytes.data());
  for (auto& [worker, samples, fence, clock, sequence, position, version] : contributors) {
    worker = in.Get<uint32_t>();
    samples = in.Get<uint32_t>();
    for (uint64_t* value : {&fence, &clock, &sequence, &position, &version}) *value = in.Get<uint64_t>();
  }
  return contributors;
}

absl::StatusOr<FrameHeader> DecodeFrameHeader(std::span<const std::byte> bytes) {
  if (bytes.size() < kFrameHeaderBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a frame of ", bytes.size(), " bytes is shorter than its header of ", kFrameHeaderBytes));
  }
  Reader in(bytes.data());
  if (const auto magic = in.Get<uint32_t>(); magic != kMagic) {
    return absl::InvalidArgumentError(absl::StrCat("not a Downpour frame: it begins with 0x", absl::Hex(magic)));
  }
  if (const auto version = in.Get<uint8_t>(); version != kFrameVersion) {
    return absl::InvalidArgumentError(
        absl::StrCat("frame version ", version, ", here it is ", kFrameVersion, ": one side is older"));
  }
  FrameHeader header;
  header.kind = in.Get<FrameKind>();
  if (FrameKindName(header.kind) == "unknown") {
    return absl::InvalidArgumentError(absl::StrCat("unknown frame kind ", static_cast<int>(header.kind)));
  }
  header.codec = in.Get<CodecId>();
  if (header.codec < CodecId::kRaw || header.codec > kLastCodec) {
    return absl::InvalidArgumentError(absl::StrCat("unknown codec ", static_cast<int>(header.codec)));
  }
  header.reason = in.Get<Refusal>();
  if (RefusalName(header.reason) == "unknown") {
    return absl::InvalidArgumentError(absl::StrCat("unknown reason ", static_cast<int>(header.reason)));
  }
  header.job = in.Get<uint64_t>();
  header.map_version = in.Get<uint32_t>();
  header.table = in.Get<uint32_t>();
  header.part = in.Get<uint32_t>();
  header.worker = in.Get<uint32_t>();
  header.fence = in.Get<uint64_t>();
  header.clock = in.Get<uint64_t>();
  header.sequence = in.Get<uint64_t>();
  header.position = in.Get<uint64_t>();
  header.version = in.Get<uint64_t>();
  header.samples = in.Get<uint32_t>();
  header.elements = in.Get<uint32_t>();
  header.payload_bytes = in.Get<uint32_t>();
  header.content = in.Get<PushContent>();
  if (header.content > PushContent::kDifference) {
    return absl::InvalidArgumentError(absl::StrCat("unknown content ", static_cast<int>(header.content)));
  }
  header.place = in.Get<PayloadPlace>();
  if (header.place > PayloadPlace::kShared) {
    return absl::InvalidArgumentError(absl::StrCat("unknown place ", static_cast<int>(header.place)));
  }
  header.contributors = in.Get<uint16_t>();
  if (header.contributors > (header.kind == FrameKind::kPush ? kMaxContributors : 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a ", FrameKindName(header.kind), " frame of ", header.contributors, " other workers"));
  }
  header.settings = in.Get<uint32_t>();
  for (const size_t i : kReservedBytes) {
    if (bytes[i] != std::byte{0}) {
      return absl::InvalidArgumentError(absl::StrCat("reserved byte ", i, " of the frame header is not zero"));
    }
  }
  if (header.payload_bytes > kMaxFramePayloadBytes) {
    return absl::InvalidArgumentError(absl::StrCat("a payload of ", header.payload_bytes,
                                                   " bytes is over the limit of ", kMaxFramePayloadBytes));
  }
  const bool carries_values = header.kind == FrameKind::kSet || header.kind == FrameKind::kPush ||
                              header.kind == FrameKind::kValues;
  const bool raw = header.codec == CodecId::kRaw;
  if (header.place == PayloadPlace::kShared) {
    if (absl::Status status = CheckShared(header, carries_values); !status.ok()) return status;
  } else if (carries_values && raw && header.payload_bytes != uint64_t{header.elements} * sizeof(float)) {
    return absl::InvalidArgumentError(absl::StrCat("a raw payload of ", header.payload_bytes, " bytes can't hold ",
                                                   header.elements, " floats"));
  }
  return header;
}

}  // namespace downpour
