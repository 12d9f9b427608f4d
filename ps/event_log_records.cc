#include "ps/event_log_records.h"

#include <bit>
#include <type_traits>
#include <vector>

#include "absl/strings/str_cat.h"

namespace downpour::ps {
namespace {

constexpr size_t kPartRangeBytes = 20;
constexpr size_t kGroupBytes = 28;
constexpr size_t kPartMarkBytes = 24;
constexpr uint32_t kMaxParts = 1 << 20;
constexpr uint32_t kMaxGroups = 1 << 16;
constexpr uint64_t kMaxPartElements = kMaxPartBytes / sizeof(float);
constexpr uint32_t kMaxReasonBytes = 1000;

// By kind, and all fields by name: a new kind, or a new field of one, does not compile before it is written too.
class Encoder {
 public:
  EncodedRecord operator()(const CreateTable& event) const {
    const auto& [ticket, table, parts, groups] = event;
    Fields out;
    out.Put(ticket).Put(table).Put(static_cast<uint32_t>(parts.size())).Put(static_cast<uint32_t>(groups.size()));
    for (const auto& [part, begin, end] : parts) out.Put(part).Put(begin).Put(end);
    for (const auto& [begin, end, settings] : groups) {
      const auto& [lr_mult, decay_mult, average] = settings;
      out.Put(begin).Put(end).Put(std::bit_cast<uint32_t>(lr_mult)).Put(std::bit_cast<uint32_t>(decay_mult));
      out.Put(static_cast<uint32_t>(average));
    }
    return {RecordKind::kCreateTable, out.Take()};
  }
  EncodedRecord operator()(const Join& event) const {
    const auto& [ticket, partition, fence, observer, generation] = event;
    return {RecordKind::kJoin, Fields()
                                   .Put(ticket)
                                   .Put(partition)
                                   .Put(fence)
                                   .Put(static_cast<uint8_t>(observer))
                                   .Put(generation)
                                   .Take()};
  }
  EncodedRecord operator()(const Leave& event) const {
    const auto& [ticket, partition, fence, done] = event;
    return {RecordKind::kLeave,
            Fields().Put(ticket).Put(partition).Put(fence).Put(static_cast<uint8_t>(done)).Take()};
  }
  EncodedRecord operator()(const Hangup& event) const {
    const auto& [stream] = event;
    return {RecordKind::kHangup, Fields().Put(stream).Take()};
  }
  EncodedRecord operator()(const Set& event) const {
    const auto& [route, message] = event;
    return Frame(RecordKind::kSet, FrameKind::kSet, route, message);
  }
  EncodedRecord operator()(const Push& event) const {
    // Whoever reads it looks again, and sees the same.
    [[maybe_unused]] const auto& [route, message, finite] = event;
    return Frame(RecordKind::kPush, FrameKind::kPush, route, message);
  }
  EncodedRecord operator()(const Pull& event) const {
    const auto& [route, header] = event;
    return Frame(RecordKind::kPull, FrameKind::kPull, route, {header, {}, {}});
  }
  EncodedRecord operator()(const Change& event) const {
    const auto& [change] = event;
    return {RecordKind::kChange, change.SerializeAsString()};
  }
  EncodedRecord operator()(const Tick& event) const {
    const auto& [now_ms] = event;
    return {RecordKind::kTick, Fields().Put(now_ms).Take()};
  }
  EncodedRecord operator()(const Checkpoint& event) const {
    const auto& [number, clock] = event;
    return {RecordKind::kCheckpoint, Fields().Put(number).Put(clock).Take()};
  }
  EncodedRecord operator()(const Restore& event) const {
    const auto& [ticket, state] = event;
    return {RecordKind::kRestore, Fields().Put(ticket).Put(EncodePartState(state)).Take(), &state.floats};
  }
  EncodedRecord operator()(const Drain&) const {
    static_assert(std::is_empty_v<Drain>);
    return {RecordKind::kDrain, ""};
  }

  EncodedRecord operator()(const Mark& mark) const {
    Fields out;
    out.Put(static_cast<uint8_t>(mark.last)).Put(static_cast<uint32_t>(mark.parts.size()));
    for (const auto& [table, part, version, checksum] : mark.parts) {
      out.Put(table).Put(part).Put(version).Put(checksum);
    }
    return {RecordKind::kMark, out.Take()};
  }
  EncodedRecord operator()(const BrokenOff& end) const {
    return {RecordKind::kBrokenOff, end.reason.substr(0, kMaxReasonBytes)};
  }

 private:
  // Borrows the message.
  static EncodedRecord Frame(RecordKind kind, FrameKind frame_kind, const Route& route, const Message& message) {
    // Where a worker wanted its values is nothing that a shard decides by.
    [[maybe_unused]] const auto& [stream, bytes, values_at] = route;
    const auto& [header, payload, contributors] = message;
    const auto frame = EncodeFrameHeader(header);
    EncodedRecord encoded{kind, Fields().Put(stream).Put(bytes).Take(), nullptr, {}};
    encoded.body.append(reinterpret_cast<const char*>(frame.data()), frame.size());
    const std::vector<std::byte> others = EncodeContributors(contributors);
    encoded.body.append(reinterpret_cast<const char*>(others.data()), others.size());
    if (frame_kind != FrameKind::kPull) encoded.payload = &payload;
    encoded.status = DecodeFrameHeader(frame).status();
    if (header.kind != frame_kind || header.place != PayloadPlace::kFollows ||
        header.contributors != contributors.size() || header.payload_bytes != payload.size()) {
      encoded.status = absl::InvalidArgumentError("the frame's header is not of its kind, or not of what follows it");
    }
    return encoded;
  }
};

// What a record says; a sentence where it makes no sense.
using Decoded = absl::StatusOr<std::variant<Event, Mark, BrokenOff>>;

absl::Status Senseless(absl::string_view what) { return absl::DataLossError(what); }

Decoded DecodeCreateTable(Cursor in) {
  CreateTable event{in.Get<uint64_t>(), in.Get<uint32_t>(), {}, {}};
  const auto parts = in.Get<uint32_t>();
  const auto groups = in.Get<uint32_t>();
  if (parts > kMaxParts || groups > kMaxGroups || in.left() != parts * kPartRangeBytes + groups * kGroupBytes) {
    return Senseless("a table whose parts are not there");
  }
  event.parts.resize(parts);
  for (PartRange& part : event.parts) {
    part = {in.Get<uint32_t>(), in.Get<uint64_t>(), in.Get<uint64_t>()};
    if (part.part >= kMaxParts || part.begin >= part.end || part.end - part.begin > kMaxPartElements) {
      return Senseless(absl::StrCat("part ", part.part, " of [", part.begin, ", ", part.end, ")"));
    }
  }
  event.groups.resize(groups);
  uint64_t end = 0;
  for (ParamGroup& group : event.groups) {
    group.begin = in.Get<uint64_t>();
    group.end = in.Get<uint64_t>();
    group.settings = {std::bit_cast<float>(in.Get<uint32_t>()), std::bit_cast<float>(in.Get<uint32_t>()),
                      in.Get<uint32_t>() != 0};
    if (group.begin < end || group.end <= group.begin) {
      return Senseless(absl::StrCat("a group of [", group.begin, ", ", group.end, ") after one that ends at ", end));
    }
    end = group.end;
  }
  return Event(std::move(event));
}

template <typename Carrier>
Decoded DecodeFrame(FrameKind kind, const std::shared_ptr<const std::byte[]>& owner, Cursor in) {
  Carrier event;
  event.route = {in.Get<uint64_t>(), in.Get<uint32_t>(), {}};
  const std::span<const std::byte> rest = in.Rest();
  const auto header = DecodeFrameHeader(rest);
  if (!header.ok()) return Senseless(header.status().message());
  std::span<const std::byte> payload = rest.subspan(kFrameHeaderBytes);
  const size_t others = header->contributors * kContributorBytes;
  if (others > payload.size()) return Senseless("a push whose contributors are not there");
  std::vector<Contributor> contributors = DecodeContributors(payload.first(others));
  payload = payload.subspan(others);
  if (header->kind != kind || header->place != PayloadPlace::kFollows || header->payload_bytes != payload.size()) {
    return Senseless(absl::StrCat("a ", FrameKindName(header->kind), " frame that claims ", header->payload_bytes,
                                  " bytes, where a ", FrameKindName(kind), " of ", payload.size(), " stands"));
  }
  if constexpr (std::is_same_v<Carrier, Pull>) {
    event.header = *header;
  } else {
    event.message = {*header, Payload(owner, std::vector<Payload::Bytes>{payload}), std::move(contributors)};
  }
  return Event(std::move(event));
}

Decoded DecodeMark(Cursor in) {
  Mark mark{in.GetBool(), {}};
  const auto count = in.Get<uint32_t>();
  if (count > kMaxParts || in.left() != count * kPartMarkBytes) return Senseless("a mark whose parts are not there");
  mark.parts.resize(count);
  for (PartMark& part : mark.parts) {
    part = {in.Get<uint32_t>(), in.Get<uint32_t>(), in.Get<uint64_t>(), in.Get<uint64_t>()};
  }
  return mark;
}

template <typename Simple>
Decoded Complete(Simple event, const Cursor& in) {
  if (!in.complete()) return Senseless("its length is not that of its kind");
  return Event(std::move(event));
}

}  // namespace

EncodedRecord EncodeRecord(const Event& event) { return std::visit(Encoder(), event); }
EncodedRecord EncodeRecord(const Mark& mark) { return Encoder()(mark); }
EncodedRecord EncodeRecord(const BrokenOff& end) { return Encoder()(end); }

Decoded DecodeRecord(uint32_t kind, const std::shared_ptr<const std::byte[]>& owner, std::span<const std::byte> bytes) {
  Cursor in(bytes);
  switch (static_cast<RecordKind>(kind)) {
    case RecordKind::kHeader: return Senseless("a second header");
    case RecordKind::kMark: return DecodeMark(in);
    case RecordKind::kBrokenOff:
      if (bytes.size() > kMaxReasonBytes) return Senseless("its length is not that of its kind");
      return BrokenOff{std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size())};
    case RecordKind::kCreateTable: return DecodeCreateTable(in);
    case RecordKind::kJoin: {
      const Join event{in.Get<uint64_t>(), in.Get<uint32_t>(), in.Get<uint64_t>(), in.GetBool(), in.Get<uint32_t>()};
      return Complete(event, in);
    }
    case RecordKind::kLeave: {
      const Leave event{in.Get<uint64_t>(), in.Get<uint32_t>(), in.Get<uint64_t>(), in.GetBool()};
      return Complete(event, in);
    }
    case RecordKind::kHangup: {
      const Hangup event{in.Get<uint64_t>()};
      return Complete(event, in);
    }
    case RecordKind::kSet: return DecodeFrame<Set>(FrameKind::kSet, owner, in);
    case RecordKind::kPush: return DecodeFrame<Push>(FrameKind::kPush, owner, in);
    case RecordKind::kPull: return DecodeFrame<Pull>(FrameKind::kPull, owner, in);
    case RecordKind::kChange: {
      Change event;
      if (bytes.size() > kMaxRegisterBytes ||
          !event.change.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        return Senseless("settings that can't be read");
      }
      return Event(std::move(event));
    }
    case RecordKind::kTick: {
      const Tick event{in.Get<int64_t>()};
      return Complete(event, in);
    }
    case RecordKind::kDrain: return Complete(Drain{}, in);
    case RecordKind::kCheckpoint: {
      const Checkpoint event{in.Get<uint64_t>(), in.Get<uint64_t>()};
      return Complete(event, in);
    }
    case RecordKind::kRestore: {
      const auto ticket = in.Get<uint64_t>();
      auto state = DecodePartState(owner, in.Rest());
      if (!state.ok()) return state.status();
      return Event(Restore{ticket, *std::move(state)});
    }
  }
  return Senseless(absl::StrCat("unknown kind ", kind, "; whoever wrote it is newer"));
}

// All that the variant has: a new kind of event must be read too.
static_assert(std::variant_size_v<Event> == 12);

}  // namespace downpour::ps
