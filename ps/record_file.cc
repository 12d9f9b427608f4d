#include "ps/record_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ps/fields.h"

namespace downpour::ps {
namespace {

constexpr size_t kFileHeadBytes = 16;
constexpr size_t kRecordHeadBytes = 32;
constexpr size_t kRecordHeadChecked = 28;  // what the head's own checksum is of
constexpr size_t kBufferBytes = 256 << 10;

uint32_t Crc(uint32_t crc, std::span<const std::byte> bytes) {
  if (bytes.empty()) return crc;  // zlib would begin anew
  return static_cast<uint32_t>(crc32_z(crc, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()));
}

absl::Status Unavailable(absl::string_view what, const std::string& path) {
  return absl::UnavailableError(absl::StrCat("can't ", what, " ", path, ": ", std::strerror(errno)));
}

std::string HeadOf(const RecordBody& record, uint64_t number, int64_t time_us) {
  uint32_t crc = Crc(0, std::as_bytes(std::span(record.bytes)));
  if (record.payload != nullptr) {
    for (const Payload::Bytes& chunk : record.payload->chunks()) crc = Crc(crc, chunk);
  }
  const std::string head =
      Fields().Put(static_cast<uint32_t>(record.size())).Put(crc).Put(number).Put(time_us).Put(record.kind).Take();
  return head + Fields().Put(Crc(0, std::as_bytes(std::span(head)))).Take();
}

}  // namespace

// ---- Writing.

absl::StatusOr<std::unique_ptr<RecordWriter>> RecordWriter::Create(const std::string& path,
                                                                   const RecordFormat& format) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0 && errno == EEXIST) {
    return absl::AlreadyExistsError(absl::StrCat(path, " is there already; ", format.name, "s are not written over"));
  }
  if (fd < 0) return Unavailable("make", path);
  std::unique_ptr<RecordWriter> writer(new RecordWriter(path, fd, format));
  writer->buffer_ =
      Fields().Put(std::string(format.magic.data(), format.magic.size())).Put(format.version).Put(uint32_t{0}).Take();
  return writer;
}

RecordWriter::~RecordWriter() {
  (void)Flush();
  close(fd_);
}

absl::Status RecordWriter::Append(const RecordBody& record, int64_t time_us) {
  if (!failure_.ok()) return failure_;
  if (record.size() > format_.most_bytes) {
    return BreakOff(absl::InvalidArgumentError(
        absl::StrCat("a record of ", record.size(), " bytes; the limit is ", format_.most_bytes)));
  }
  if (buffer_.size() + kRecordHeadBytes + record.size() > kBufferBytes) {
    if (absl::Status status = Flush(); !status.ok()) return status;
  }
  last_time_us_ = time_us;
  buffer_ += HeadOf(record, next_number_++, time_us);
  buffer_ += record.bytes;
  if (record.payload == nullptr) return absl::OkStatus();
  for (const Payload::Bytes& chunk : record.payload->chunks()) {
    if (buffer_.size() + chunk.size() <= kBufferBytes) {
      buffer_.append(reinterpret_cast<const char*>(chunk.data()), chunk.size());
      continue;
    }
    absl::Status status = WriteBuffer();
    if (status.ok()) status = WriteOut(chunk);
    if (!status.ok()) return End(std::move(status));
  }
  return absl::OkStatus();
}

absl::Status RecordWriter::BreakOff(absl::Status why) {
  (void)Flush();  // what came before it is good
  return failure_.ok() ? End(std::move(why)) : failure_;
}

absl::Status RecordWriter::Flush() {
  if (!failure_.ok()) return failure_;
  if (absl::Status status = WriteBuffer(); !status.ok()) return End(std::move(status));
  whole_ = written_;
  whole_next_number_ = next_number_;
  return absl::OkStatus();
}

absl::Status RecordWriter::Sync() {
  if (absl::Status status = Flush(); !status.ok()) return status;
  if (fsync(fd_) != 0) return End(Unavailable("write", path_));
  return absl::OkStatus();
}

absl::Status RecordWriter::WriteBuffer() {
  absl::Status status = WriteOut(std::as_bytes(std::span(buffer_)));
  buffer_.clear();
  return status;
}

absl::Status RecordWriter::WriteOut(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Unavailable("write", path_);
    written_ += n;
    bytes = bytes.subspan(n);
  }
  return absl::OkStatus();
}

absl::Status RecordWriter::End(absl::Status failure) {
  failure_ = std::move(failure);
  buffer_.clear();
  if (ftruncate(fd_, static_cast<off_t>(whole_)) == 0 && lseek(fd_, 0, SEEK_END) >= 0 && format_.broken_off != 0) {
    const RecordBody record{format_.broken_off, std::string(failure_.message())};
    const std::string bytes = HeadOf(record, whole_next_number_, last_time_us_) + record.bytes;
    if (!WriteOut(std::as_bytes(std::span(bytes))).ok()) (void)!ftruncate(fd_, static_cast<off_t>(whole_));
  }
  return failure_;
}

// ---- Reading.

absl::StatusOr<std::unique_ptr<RecordReader>> RecordReader::Open(const std::string& path, const RecordFormat& format) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // not to wait at a pipe
  if (fd < 0 && errno == ENOENT) return absl::NotFoundError(absl::StrCat("no ", format.name, " at ", path));
  if (fd < 0) return Unavailable("read", path);
  struct stat about {};
  const bool regular = fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
  std::unique_ptr<RecordReader> reader(new RecordReader(path, fd, regular ? about.st_size : 0, format));
  if (!regular) return absl::InvalidArgumentError(absl::StrCat(path, " is no file"));
  if (absl::Status status = reader->ReadHead(); !status.ok()) return status;
  return reader;
}

RecordReader::~RecordReader() { close(fd_); }

absl::Status RecordReader::Damaged(uint64_t offset, const std::string& what) {
  return failure_ = absl::DataLossError(absl::StrCat(path_, ": the record at byte ", offset, " is damaged: ", what));
}

absl::Status RecordReader::Torn(uint64_t offset) {
  return failure_ = absl::OutOfRangeError(
             absl::StrCat(path_, ": the file ends at byte ", size_, ", within the record at byte ", offset));
}

absl::Status RecordReader::ReadHead() {
  std::array<std::byte, kFileHeadBytes> head;
  const size_t there = std::min<uint64_t>(head.size(), size_);
  if (!Read(std::span(head).first(there)) ||
      std::memcmp(head.data(), format_.magic.data(), std::min(there, format_.magic.size())) != 0) {
    return absl::InvalidArgumentError(absl::StrCat(path_, " is no ", format_.name));
  }
  if (there < head.size()) return Torn(0);
  Cursor in{std::span(head).subspan(format_.magic.size())};
  if (const auto version = in.Get<uint32_t>(); version != format_.version) {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": ", format_.name, " of version ", version,
                                                   "; this program reads version ", format_.version));
  }
  if (in.Get<uint32_t>() != 0) return Damaged(0, "a reserved byte is not zero");
  return absl::OkStatus();
}

bool RecordReader::Read(std::span<std::byte> out) {
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

absl::StatusOr<std::optional<RawRecord>> RecordReader::ReadRecord() {
  RawRecord raw;
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
  if (size > format_.most_bytes) {
    return Damaged(raw.offset, absl::StrCat("it claims ", size, " bytes; the limit is ", format_.most_bytes));
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

absl::StatusOr<std::optional<RawRecord>> RecordReader::Next() {
  if (!failure_.ok()) return failure_;
  return ReadRecord();
}

}  // namespace downpour::ps
