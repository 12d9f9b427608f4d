// A shard's events in a file, in the order in which it handled them. A recording is made of such files, and so can
// be anything else that must handle the same events again. The bytes are described in README.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ps/event.h"
#include "ps/record_file.h"

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
  // InvalidArgument for a frame that DecodeFrameHeader would not take: such never get as far as a shard.
  // Unavailable, with the path and the system's reason, when it can't be written. What was appended is on the way to
  // the file after Flush() alone; a process that is killed loses what it had not flushed.
  absl::Status Append(const Event& event, int64_t time_us);
  absl::Status Append(const Mark& mark, int64_t time_us);
  absl::Status Flush() { return records_->Flush(); }

  const std::string& path() const { return records_->path(); }

 private:
  explicit EventLogWriter(std::unique_ptr<RecordWriter> records) : records_(std::move(records)) {}
  absl::Status Append(const EncodedRecord& record, int64_t time_us);

  const std::unique_ptr<RecordWriter> records_;
};

// One thread at a time may use it. Trusts nothing in the file, and allocates no more than the file is long.
class EventLogReader {
 public:
  // As RecordReader's.
  static absl::StatusOr<std::unique_ptr<EventLogReader>> Open(const std::string& path);

  const EventLogHeader& header() const { return header_; }
  const std::string& path() const { return records_->path(); }

  // As RecordReader's.
  absl::StatusOr<std::optional<LogRecord>> Next();

 private:
  explicit EventLogReader(std::unique_ptr<RecordReader> records) : records_(std::move(records)) {}

  absl::Status ReadHeader();

  const std::unique_ptr<RecordReader> records_;
  EventLogHeader header_;
};

}  // namespace downpour::ps
