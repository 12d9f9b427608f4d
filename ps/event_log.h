// A shard's events in a file, in the order in which it handled them. A recording is made of such files, and so can
// be anything else that must handle the same events again. The bytes are described in README.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ps/event.h"

namespace downpour::ps {

// Whose events a log holds.
struct EventLogHeader {
  std::string job;  // as YAML
  uint32_t server = 0;
  uint32_t servers = 1;
  uint32_t shard = 0;
  uint32_t shards = 1;    // of each server
  int64_t unix_us = 0;    // when the log was begun, by the wall's clock
  int64_t steady_us = 0;  // the same moment, by the clock of its records
};

struct PartMark {
  uint32_t table = 0;
  uint32_t part = 0;
  uint64_t version = 0;   // updates applied
  uint64_t checksum = 0;  // Table::Checksum of the part

  friend bool operator==(const PartMark&, const PartMark&) = default;
};

// How some parts stood after all records before it: what a replay compares with.
struct Mark {
  bool last = false;  // of all parts, and nothing comes after it
  std::vector<PartMark> parts;
};

// The writer could not go on; nothing comes after it.
struct BrokenOff {
  std::string reason;
};

struct LogRecord {
  uint64_t number = 0;  // 1, 2, 3, ...
  uint64_t offset = 0;  // in the file
  int64_t time_us = 0;  // by the clock of whoever wrote it
  std::variant<Event, Mark, BrokenOff> entry;
};

struct EncodedRecord;  // event_log_records.h

// "server-0-shard-1.events"
std::string EventLogName(uint32_t server, uint32_t shard);

// One thread at a time may use it.
//
// After the first failure it takes nothing more and each call gives that failure again: the file is cut to its last
// whole record, and a BrokenOff is added where there is room for one.
class EventLogWriter {
 public:
  // AlreadyExists: a log is never written over. InvalidArgument: the job is too long. Unavailable, with the path and
  // the system's reason: the file can't be made.
  static absl::StatusOr<std::unique_ptr<EventLogWriter>> Create(const std::string& path,
                                                                const EventLogHeader& header);
  // Flushes.
  ~EventLogWriter();
  EventLogWriter(const EventLogWriter&) = delete;
  EventLogWriter& operator=(const EventLogWriter&) = delete;

  // InvalidArgument for a frame that DecodeFrameHeader would not take: such never get as far as a shard.
  // Unavailable, with the path and the system's reason, when it can't be written. What was appended is on the way to
  // the file after Flush() alone; a process that is killed loses what it had not flushed.
  absl::Status Append(const Event& event, int64_t time_us);
  absl::Status Append(const Mark& mark, int64_t time_us);
  absl::Status Flush();

  const std::string& path() const { return path_; }

 private:
  EventLogWriter(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  absl::Status Append(const EncodedRecord& record, int64_t time_us);
  absl::Status WriteOut(std::span<const std::byte> bytes);
  absl::Status WriteBuffer();
  absl::Status BreakOff(absl::Status failure);
  static std::string Head(const EncodedRecord& record, uint64_t number, int64_t time_us);

  const std::string path_;
  const int fd_;
  std::string buffer_;
  uint64_t next_number_ = 0;
  int64_t last_time_us_ = 0;
  uint64_t written_ = 0;  // bytes in the file
  // The file up to its last whole record, and the number of the next.
  uint64_t whole_ = 0;
  uint64_t whole_next_number_ = 0;
  absl::Status failure_;
};

// One thread at a time may use it. Trusts nothing in the file, and allocates no more than the file is long.
class EventLogReader {
 public:
  // NotFound: no such file. InvalidArgument: it is no event log, or of another version. Otherwise as Next().
  static absl::StatusOr<std::unique_ptr<EventLogReader>> Open(const std::string& path);
  ~EventLogReader();
  EventLogReader(const EventLogReader&) = delete;
  EventLogReader& operator=(const EventLogReader&) = delete;

  const EventLogHeader& header() const { return header_; }
  const std::string& path() const { return path_; }

  // The next record; none at the end of the file. OutOfRange: the file ends within a record, as that of a killed
  // process may. DataLoss: a record is damaged. Both name file and offset, and come again with each call.
  absl::StatusOr<std::optional<LogRecord>> Next();

 private:
  struct Raw;
  EventLogReader(std::string path, int fd, uint64_t size) : path_(std::move(path)), fd_(fd), size_(size) {}

  absl::Status ReadHeader();
  absl::StatusOr<std::optional<Raw>> ReadRaw();
  bool Read(std::span<std::byte> out);
  absl::Status Damaged(uint64_t offset, const std::string& what) const;
  absl::Status Torn(uint64_t offset) const;

  const std::string path_;
  const int fd_;
  const uint64_t size_;
  EventLogHeader header_;
  std::vector<std::byte> ahead_;  // read, and not yet taken
  size_t taken_ = 0;
  uint64_t offset_ = 0;  // of what is taken next
  uint64_t next_number_ = 0;
  absl::Status failure_;
};

}  // namespace downpour::ps
