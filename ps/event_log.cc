#include "ps/event_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/limits.h"

namespace downpour::ps {
namespace {

constexpr char kMagic[8] = {'D', 'P', 'W', 'E', 'V', 'E', 'N', 'T'};
constexpr uint32_t kVersion = 1;
constexpr size_t kFileHeadBytes = 16;
constexpr size_t kRecordHeadBytes = 32;
constexpr size_t kRecordHeadChecked = 28;  // what the head's own checksum is of
constexpr size_t kRouteBytes = 12;
constexpr size_t kFrameBytes = kRouteBytes + kFrameHeaderBytes;
constexpr size_t kPartRangeBytes = 20;
constexpr size_t kGroupBytes = 24;
constexpr size_t kPartMarkBytes = 24;

constexpr uint64_t kMaxBodyBytes = kFrameBytes + kMaxFramePayloadBytes;
constexpr uint32_t kMaxParts = 1 << 20;
constexpr uint32_t kMaxGroups = 1 << 16;
constexpr uint64_t kMaxPartElements = kMaxFramePayloadBytes / sizeof(float);
constexpr uint32_t kMaxReasonBytes = 1000;
constexpr size_t kMaxJobBytes = 4 * kMaxRegisterBytes;

constexpr size_t kBufferBytes = 256 << 10;

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

uint32_t Crc(uint32_t crc, std::span<const std::byte> bytes) {
  if (bytes.empty()) return crc;  // zlib would begin anew
  return static_cast<uint32_t>(
      crc32_z(crc, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()));
}

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

absl::Status Unavailable(absl::string_view what, const std::string& path) {
  return absl::UnavailableError(absl::StrCat("can't ", what, " ", path, ": ", std::strerror(errno)));
}

}  // namespace

std::string EventLogName(uint32_t server, uint32_t shard) {
  return absl::StrCat("server-", server, "-shard-", shard, ".events");
}

// ---- Writing.

struct EventLogWriter::Encoded {
  RecordKind kind;
  std::string body;
  const Payload* payload = nullptr;  // follows the body
  absl::Status status;

  size_t size() const { return body.size() + (payload == nullptr ? 0 : payload->size()); }
};

// By kind, and all fields by name: a new kind, or a new field of one, does not compile before it is written too.
class EventLogWriter::Encoder {
 public:
  Encoded operator()(const CreateTable& event) const {
    const auto& [ticket, table, parts, groups] = event;
    Fields out;
    out.Put(ticket).Put(table).Put(static_cast<uint32_t>(parts.size())).Put(static_cast<uint32_t>(groups.size()));
    for (const auto& [part, begin, end] : parts) out.Put(part).Put(begin).Put(end);
    for (const auto& [begin, end, lr_mult, decay_mult] : groups) {
      out.Put(begin).Put(end).Put(std::bit_cast<uint32_t>(lr_mult)).Put(std::bit_cast<uint32_t>(decay_mult));
    }
    return {RecordKind::kCreateTable, out.Take()};
  }
  Encoded operator()(const Join& event) const {
    const auto& [ticket, partition, fence, observer] = event;
    return {RecordKind::kJoin,
            Fields().Put(ticket).Put(partition).Put(fence).Put(static_cast<uint8_t>(observer)).Take()};
  }
  Encoded operator()(const Leave& event) const {
    const auto& [ticket, partition, fence] = event;
    return {RecordKind::kLeave, Fields().Put(ticket).Put(partition).Put(fence).Take()};
  }
  Encoded operator()(const Hangup& event) const {
    const auto& [stream] = event;
    return {RecordKind::kHangup, Fields().Put(stream).Take()};
  }
  Encoded operator()(const Set& event) const {
    const auto& [route, message] = event;
    return Frame(RecordKind::kSet, FrameKind::kSet, route, message.header, &message.payload);
  }
  Encoded operator()(const Push& event) const {
    const auto& [route, message] = event;
    return Frame(RecordKind::kPush, FrameKind::kPush, route, message.header, &message.payload);
  }
  Encoded operator()(const Pull& event) const {
    const auto& [route, header] = event;
    return Frame(RecordKind::kPull, FrameKind::kPull, route, header, nullptr);
  }
  Encoded operator()(const Change& event) const {
    const auto& [change] = event;
    return {RecordKind::kChange, change.SerializeAsString()};
  }
  Encoded operator()(const Tick& event) const {
    const auto& [now_ms] = event;
    return {RecordKind::kTick, Fields().Put(now_ms).Take()};
  }
  Encoded operator()(const Drain&) const {
    static_assert(std::is_empty_v<Drain>);
    return {RecordKind::kDrain, ""};
  }

  Encoded operator()(const Mark& mark) const {
    Fields out;
    out.Put(static_cast<uint8_t>(mark.last)).Put(static_cast<uint32_t>(mark.parts.size()));
    for (const auto& [table, part, version, checksum] : mark.parts) {
      out.Put(table).Put(part).Put(version).Put(checksum);
    }
    return {RecordKind::kMark, out.Take()};
  }
  Encoded operator()(const BrokenOff& end) const {
    return {RecordKind::kBrokenOff, end.reason.substr(0, kMaxReasonBytes)};
  }

 private:
  static Encoded Frame(RecordKind kind, FrameKind frame_kind, const Route& route, const FrameHeader& header,
                       const Payload* payload) {
    const auto& [stream, bytes] = route;
    const auto frame = EncodeFrameHeader(header);
    Encoded encoded{kind, Fields().Put(stream).Put(bytes).Take(), payload};
    encoded.body.append(reinterpret_cast<const char*>(frame.data()), frame.size());
    encoded.status = DecodeFrameHeader(frame).status();
    if (header.kind != frame_kind || header.payload_bytes != (payload == nullptr ? 0 : payload->size())) {
      encoded.status = absl::InvalidArgumentError("the frame's header is not of its kind or of its payload's length");
    }
    return encoded;
  }
};

std::string EventLogWriter::Head(const Encoded& record, uint64_t number, int64_t time_us) {
  uint32_t crc = Crc(0, std::as_bytes(std::span(record.body)));
  if (record.payload != nullptr) {
    for (const Payload::Bytes& chunk : record.payload->chunks()) crc = Crc(crc, chunk);
  }
  std::string head = Fields()
                         .Put(static_cast<uint32_t>(record.size()))
                         .Put(crc)
                         .Put(number)
                         .Put(time_us)
                         .Put(static_cast<uint32_t>(record.kind))
                         .Take();
  return head + Fields().Put(Crc(0, std::as_bytes(std::span(head)))).Take();
}

absl::StatusOr<std::unique_ptr<EventLogWriter>> EventLogWriter::Create(const std::string& path,
                                                                       const EventLogHeader& header) {
  if (header.job.empty() || header.job.size() > kMaxJobBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a job of ", header.job.size(), " bytes; an event log takes 1 to ", kMaxJobBytes));
  }
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0 && errno == EEXIST) {
    return absl::AlreadyExistsError(absl::StrCat(path, " is there already; a recording is not written over"));
  }
  if (fd < 0) return Unavailable("make", path);
  std::unique_ptr<EventLogWriter> writer(new EventLogWriter(path, fd));
  writer->buffer_ = Fields().Put(std::string(kMagic, sizeof(kMagic))).Put(kVersion).Put(uint32_t{0}).Take();
  const Encoded record{RecordKind::kHeader, Fields()
                                                .Put(header.server)
                                                .Put(header.servers)
                                                .Put(header.shard)
                                                .Put(header.shards)
                                                .Put(header.unix_us)
                                                .Put(header.job)
                                                .Take()};
  absl::Status status = writer->Append(record, header.steady_us);
  if (status.ok()) status = writer->Flush();
  if (!status.ok()) return status;
  return writer;
}

EventLogWriter::~EventLogWriter() {
  (void)Flush();
  close(fd_);
}

absl::Status EventLogWriter::Append(const Event& event, int64_t time_us) {
  return Append(std::visit(Encoder(), event), time_us);
}

absl::Status EventLogWriter::Append(const Mark& mark, int64_t time_us) {
  return Append(Encoder()(mark), time_us);
}

absl::Status EventLogWriter::Append(const Encoded& record, int64_t time_us) {
  if (!failure_.ok()) return failure_;
  absl::Status status = record.status;
  if (record.size() > kMaxBodyBytes) {
    status = absl::InvalidArgumentError(
        absl::StrCat("an event of ", record.size(), " bytes; the limit is ", kMaxBodyBytes));
  }
  if (!status.ok()) {
    (void)Flush();  // what came before it is good
    return failure_.ok() ? BreakOff(std::move(status)) : failure_;
  }
  if (buffer_.size() + kRecordHeadBytes + record.size() > kBufferBytes) {
    if (status = Flush(); !status.ok()) return status;
  }
  last_time_us_ = time_us;
  buffer_ += Head(record, next_number_++, time_us);
  buffer_ += record.body;
  if (record.payload == nullptr) return absl::OkStatus();
  for (const Payload::Bytes& chunk : record.payload->chunks()) {
    if (buffer_.size() + chunk.size() <= kBufferBytes) {
      buffer_.append(reinterpret_cast<const char*>(chunk.data()), chunk.size());
      continue;
    }
    status = WriteBuffer();
    if (status.ok()) status = WriteOut(chunk);
    if (!status.ok()) return BreakOff(std::move(status));
  }
  return absl::OkStatus();
}

absl::Status EventLogWriter::Flush() {
  if (!failure_.ok()) return failure_;
  if (absl::Status status = WriteBuffer(); !status.ok()) return BreakOff(std::move(status));
  whole_ = written_;
  whole_next_number_ = next_number_;
  return absl::OkStatus();
}

absl::Status EventLogWriter::WriteBuffer() {
  absl::Status status = WriteOut(std::as_bytes(std::span(buffer_)));
  buffer_.clear();
  return status;
}

absl::Status EventLogWriter::WriteOut(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Unavailable("write", path_);
    written_ += n;
    bytes = bytes.subspan(n);
  }
  return absl::OkStatus();
}

absl::Status EventLogWriter::BreakOff(absl::Status failure) {
  failure_ = std::move(failure);
  buffer_.clear();
  if (ftruncate(fd_, static_cast<off_t>(whole_)) == 0 && lseek(fd_, 0, SEEK_END) >= 0) {
    const Encoded record = Encoder()(BrokenOff{std::string(failure_.message())});
    const std::string bytes = Head(record, whole_next_number_, last_time_us_) + record.body;
    if (!WriteOut(std::as_bytes(std::span(bytes))).ok()) (void)!ftruncate(fd_, static_cast<off_t>(whole_));
  }
  return failure_;
}

// ---- Reading.

struct EventLogReader::Raw {
  uint64_t number = 0;
  uint64_t offset = 0;
  int64_t time_us = 0;
  uint32_t kind = 0;
  std::shared_ptr<const std::byte[]> body;
  size_t size = 0;

  std::span<const std::byte> bytes() const { return {body.get(), size}; }
};

namespace {

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
    group.lr_mult = std::bit_cast<float>(in.Get<uint32_t>());
    group.decay_mult = std::bit_cast<float>(in.Get<uint32_t>());
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
  event.route = {in.Get<uint64_t>(), in.Get<uint32_t>()};
  const std::span<const std::byte> rest = in.Rest();
  const auto header = DecodeFrameHeader(rest);
  if (!header.ok()) return Senseless(header.status().message());
  const std::span<const std::byte> payload = rest.subspan(kFrameHeaderBytes);
  if (header->kind != kind || header->payload_bytes != payload.size()) {
    return Senseless(absl::StrCat("a ", FrameKindName(header->kind), " frame that claims ", header->payload_bytes,
                                  " bytes, where a ", FrameKindName(kind), " of ", payload.size(), " stands"));
  }
  if constexpr (std::is_same_v<Carrier, Pull>) {
    event.header = *header;
  } else {
    event.message = {*header, Payload(owner, std::vector<Payload::Bytes>{payload})};
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

Decoded Decode(uint32_t kind, const std::shared_ptr<const std::byte[]>& owner, std::span<const std::byte> bytes) {
  Cursor in(bytes);
  switch (static_cast<RecordKind>(kind)) {
    case RecordKind::kHeader: return Senseless("a second header");
    case RecordKind::kMark: return DecodeMark(in);
    case RecordKind::kBrokenOff:
      if (bytes.size() > kMaxReasonBytes) return Senseless("its length is not that of its kind");
      return BrokenOff{std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size())};
    case RecordKind::kCreateTable: return DecodeCreateTable(in);
    case RecordKind::kJoin: {
      const Join event{in.Get<uint64_t>(), in.Get<uint32_t>(), in.Get<uint64_t>(), in.GetBool()};
      return Complete(event, in);
    }
    case RecordKind::kLeave: {
      const Leave event{in.Get<uint64_t>(), in.Get<uint32_t>(), in.Get<uint64_t>()};
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
  }
  return Senseless(absl::StrCat("unknown kind ", kind, "; whoever wrote it is newer"));
}

// All that the variant has: a new kind of event must be read too.
static_assert(std::variant_size_v<Event> == 10);

}  // namespace

absl::StatusOr<std::unique_ptr<EventLogReader>> EventLogReader::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return absl::NotFoundError(absl::StrCat("no event log at ", path));
  if (fd < 0) return Unavailable("read", path);
  struct stat about {};
  const bool regular = fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
  std::unique_ptr<EventLogReader> reader(new EventLogReader(path, fd, regular ? about.st_size : 0));
  if (!regular) return absl::InvalidArgumentError(absl::StrCat(path, " is no file"));
  if (absl::Status status = reader->ReadHeader(); !status.ok()) return status;
  return reader;
}

EventLogReader::~EventLogReader() { close(fd_); }

absl::Status EventLogReader::Damaged(uint64_t offset, const std::string& what) const {
  return absl::DataLossError(absl::StrCat(path_, ": the record at byte ", offset, " is damaged: ", what));
}

absl::Status EventLogReader::Torn(uint64_t offset) const {
  return absl::OutOfRangeError(
      absl::StrCat(path_, ": the file ends at byte ", size_, ", within the record at byte ", offset));
}

absl::Status EventLogReader::ReadHeader() {
  std::array<std::byte, kFileHeadBytes> head;
  const size_t there = std::min<uint64_t>(head.size(), size_);
  if (!Read(std::span(head).first(there)) ||
      std::memcmp(head.data(), kMagic, std::min(there, sizeof(kMagic))) != 0 || there == 0) {
    return absl::InvalidArgumentError(absl::StrCat(path_, " is no event log"));
  }
  if (there < head.size()) return Torn(0);
  Cursor in{std::span(head).subspan(sizeof(kMagic))};
  if (const auto version = in.Get<uint32_t>(); version != kVersion) {
    return absl::InvalidArgumentError(
        absl::StrCat(path_, " is an event log of version ", version, "; this program reads version ", kVersion));
  }
  if (in.Get<uint32_t>() != 0) return Damaged(0, "a reserved byte is not zero");
  auto raw = ReadRaw();
  if (!raw.ok()) return raw.status();
  if (!*raw) return Torn(offset_);
  const std::span<const std::byte> body = (*raw)->bytes();
  if ((*raw)->kind != static_cast<uint32_t>(RecordKind::kHeader)) return Damaged(offset_, "it should be the header");
  Cursor fields(body);
  header_.server = fields.Get<uint32_t>();
  header_.servers = fields.Get<uint32_t>();
  header_.shard = fields.Get<uint32_t>();
  header_.shards = fields.Get<uint32_t>();
  header_.unix_us = fields.Get<int64_t>();
  header_.steady_us = (*raw)->time_us;
  const std::span<const std::byte> job = fields.Rest();
  if (job.empty() || job.size() > kMaxJobBytes || header_.server >= header_.servers ||
      header_.shard >= header_.shards) {
    return Damaged((*raw)->offset, "a header that makes no sense");
  }
  header_.job.assign(reinterpret_cast<const char*>(job.data()), job.size());
  return absl::OkStatus();
}

bool EventLogReader::Read(std::span<std::byte> out) {
  if (out.size() > size_ - offset_) return false;
  offset_ += out.size();
  const size_t ready = std::min(out.size(), ahead_.size() - taken_);
  std::copy_n(ahead_.begin() + static_cast<ptrdiff_t>(taken_), ready, out.begin());
  taken_ += ready;
  out = out.subspan(ready);
  const auto fill = [this](std::span<std::byte> into, size_t least) {
    size_t filled = 0;
    while (filled < least) {
      const ssize_t n = read(fd_, into.data() + filled, into.size() - filled);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) break;
      filled += n;
    }
    return filled;
  };
  if (out.size() >= kBufferBytes) return fill(out, out.size()) == out.size();
  if (out.empty()) return true;
  ahead_.resize(kBufferBytes);
  ahead_.resize(fill(ahead_, out.size()));
  taken_ = std::min(out.size(), ahead_.size());
  std::copy_n(ahead_.begin(), taken_, out.begin());
  return taken_ == out.size();
}

absl::StatusOr<std::optional<EventLogReader::Raw>> EventLogReader::ReadRaw() {
  Raw raw;
  raw.offset = offset_;
  if (offset_ == size_) return std::nullopt;
  std::array<std::byte, kRecordHeadBytes> head;
  if (!Read(head)) return Torn(raw.offset);
  Cursor in(head);
  const auto size = in.Get<uint32_t>();
  const auto body_crc = in.Get<uint32_t>();
  raw.number = in.Get<uint64_t>();
  raw.time_us = in.Get<int64_t>();
  raw.kind = in.Get<uint32_t>();
  if (in.Get<uint32_t>() != Crc(0, std::span(head).first(kRecordHeadChecked))) {
    return Damaged(raw.offset, "its head does not match its checksum");
  }
  if (raw.number != next_number_) {
    return Damaged(raw.offset, absl::StrCat("it is number ", raw.number, " where number ", next_number_, " belongs"));
  }
  if (size > kMaxBodyBytes) {
    return Damaged(raw.offset, absl::StrCat("it claims ", size, " bytes; the limit is ", kMaxBodyBytes));
  }
  if (size > size_ - offset_) return Torn(raw.offset);
  auto body = std::make_shared_for_overwrite<std::byte[]>(size);
  if (!Read({body.get(), size})) return Torn(raw.offset);
  if (Crc(0, {body.get(), size}) != body_crc) return Damaged(raw.offset, "its body does not match its checksum");
  raw.body = std::move(body);
  raw.size = size;
  ++next_number_;
  return raw;
}

absl::StatusOr<std::optional<LogRecord>> EventLogReader::Next() {
  if (!failure_.ok()) return failure_;
  auto raw = ReadRaw();
  if (!raw.ok()) return failure_ = raw.status();
  if (!*raw) return std::nullopt;
  auto entry = Decode((*raw)->kind, (*raw)->body, (*raw)->bytes());
  if (!entry.ok()) return failure_ = Damaged((*raw)->offset, std::string(entry.status().message()));
  return LogRecord{(*raw)->number, (*raw)->offset, (*raw)->time_us, *std::move(entry)};
}

}  // namespace downpour::ps
