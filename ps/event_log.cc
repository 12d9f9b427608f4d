#include "ps/event_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/limits.h"
#include "ps/event_log_records.h"

namespace downpour::ps {
namespace {

constexpr char kMagic[8] = {'D', 'P', 'W', 'E', 'V', 'E', 'N', 'T'};
constexpr uint32_t kVersion = 3;
constexpr size_t kFileHeadBytes = 16;
constexpr size_t kRecordHeadBytes = 32;
constexpr size_t kRecordHeadChecked = 28;  // what the head's own checksum is of
constexpr size_t kMaxJobBytes = 4 * kMaxRegisterBytes;
constexpr size_t kBufferBytes = 256 << 10;

uint32_t Crc(uint32_t crc, std::span<const std::byte> bytes) {
  if (bytes.empty()) return crc;  // zlib would begin anew
  return static_cast<uint32_t>(
      crc32_z(crc, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()));
}

absl::Status Unavailable(absl::string_view what, const std::string& path) {
  return absl::UnavailableError(absl::StrCat("can't ", what, " ", path, ": ", std::strerror(errno)));
}

}  // namespace

std::string EventLogName(uint32_t server, uint32_t shard) {
  return absl::StrCat("server-", server, "-shard-", shard, ".events");
}

// ---- Writing.

std::string EventLogWriter::Head(const EncodedRecord& record, uint64_t number, int64_t time_us) {
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
  const EncodedRecord record{RecordKind::kHeader, Fields()
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
  return Append(EncodeRecord(event), time_us);
}

absl::Status EventLogWriter::Append(const Mark& mark, int64_t time_us) {
  return Append(EncodeRecord(mark), time_us);
}

absl::Status EventLogWriter::Append(const EncodedRecord& record, int64_t time_us) {
  if (!failure_.ok()) return failure_;
  absl::Status status = record.status;
  if (record.size() > kMaxRecordBodyBytes) {
    status = absl::InvalidArgumentError(
        absl::StrCat("an event of ", record.size(), " bytes; the limit is ", kMaxRecordBodyBytes));
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
    const EncodedRecord record = EncodeRecord(BrokenOff{std::string(failure_.message())});
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

absl::StatusOr<std::unique_ptr<EventLogReader>> EventLogReader::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // not to wait at a pipe
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
      std::memcmp(head.data(), kMagic, std::min(there, sizeof(kMagic))) != 0) {
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
  if (size > kMaxRecordBodyBytes) {
    return Damaged(raw.offset, absl::StrCat("it claims ", size, " bytes; the limit is ", kMaxRecordBodyBytes));
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
  auto entry = DecodeRecord((*raw)->kind, (*raw)->body, (*raw)->bytes());
  if (!entry.ok()) return failure_ = Damaged((*raw)->offset, std::string(entry.status().message()));
  return LogRecord{(*raw)->number, (*raw)->offset, (*raw)->time_us, *std::move(entry)};
}

}  // namespace downpour::ps
