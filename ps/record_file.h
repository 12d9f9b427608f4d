// A file of records, each with its length, number, time, kind and checksums, so that damage is found at the record
// where it is, and a file that merely ends within one is told apart. The bytes are described in README.md. Event logs
// and checkpoints are such files.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/payload.h"

namespace downpour::ps {

struct RecordFormat {
  std::array<char, 8> magic;
  uint32_t version;
  const char* name;     // "event log"
  uint64_t most_bytes;  // of a record's body
  uint32_t broken_off;  // the kind of the record that says why a writer could not go on; 0 for none
};

struct RecordBody {
  uint32_t kind = 0;
  std::string bytes;
  const Payload* payload = nullptr;  // follows the bytes; good for the call

  size_t size() const { return bytes.size() + (payload == nullptr ? 0 : payload->size()); }
};

// One thread at a time may use it.
//
// After the first failure it takes nothing more and each call gives that failure again: the file is cut to its last
// whole record, and one that says why is added where the format has such and there is room for it.
class RecordWriter {
 public:
  // AlreadyExists: a file is never written over. Unavailable, with the path and the system's reason: it can't be made.
  static absl::StatusOr<std::unique_ptr<RecordWriter>> Create(const std::string& path, const RecordFormat& format);
  // Flushes.
  ~RecordWriter();
  RecordWriter(const RecordWriter&) = delete;
  RecordWriter& operator=(const RecordWriter&) = delete;

  // InvalidArgument: it is too long. Unavailable, with the path and the system's reason, when it can't be written.
  absl::Status Append(const RecordBody& record, int64_t time_us);
  // Ends the file, as a failure to write does.
  absl::Status BreakOff(absl::Status why);
  // What was appended goes to the file; a process that is killed loses what it had not flushed.
  absl::Status Flush();
  // Flushes, and waits until the disk has it: a machine that stops loses what was not synced.
  absl::Status Sync();

  const std::string& path() const { return path_; }

 private:
  RecordWriter(std::string path, int fd, const RecordFormat& format)
      : path_(std::move(path)), fd_(fd), format_(format) {}
  absl::Status WriteOut(std::span<const std::byte> bytes);
  absl::Status WriteBuffer();
  // Cuts the file and says why, for good.
  absl::Status End(absl::Status failure);

  const std::string path_;
  const int fd_;
  const RecordFormat format_;
  std::string buffer_;
  uint64_t next_number_ = 0;
  int64_t last_time_us_ = 0;
  uint64_t written_ = 0;  // bytes in the file
  // The file up to its last whole record, and the number of the next.
  uint64_t whole_ = 0;
  uint64_t whole_next_number_ = 0;
  absl::Status failure_;
};

struct RawRecord {
  uint64_t number = 0;
  uint64_t offset = 0;  // in the file
  int64_t time_us = 0;
  uint32_t kind = 0;
  std::shared_ptr<const std::byte[]> body;
  size_t size = 0;

  std::span<const std::byte> bytes() const { return {body.get(), size}; }
};

// One thread at a time may use it. Trusts nothing in the file, and allocates no more than the file is long.
class RecordReader {
 public:
  // NotFound: no such file. InvalidArgument: it is of another format or version. Otherwise as Next().
  static absl::StatusOr<std::unique_ptr<RecordReader>> Open(const std::string& path, const RecordFormat& format);
  ~RecordReader();
  RecordReader(const RecordReader&) = delete;
  RecordReader& operator=(const RecordReader&) = delete;

  const std::string& path() const { return path_; }
  uint64_t offset() const { return offset_; }

  // The next record; none at the end of the file. OutOfRange: the file ends within a record, as that of a killed
  // process may. DataLoss: a record is damaged. Both name file and offset, and come again with each call.
  absl::StatusOr<std::optional<RawRecord>> Next();
  // What Next says of a record at that byte whose content makes no sense, from now on.
  absl::Status Damaged(uint64_t offset, const std::string& what);
  absl::Status Torn(uint64_t offset);

 private:
  RecordReader(std::string path, int fd, uint64_t size, const RecordFormat& format)
      : path_(std::move(path)), fd_(fd), size_(size), format_(format) {}

  absl::Status ReadHead();
  absl::StatusOr<std::optional<RawRecord>> ReadRecord();
  bool Read(std::span<std::byte> out);

  const std::string path_;
  const int fd_;
  const uint64_t size_;
  const RecordFormat format_;
  std::vector<std::byte> ahead_;  // read, and not yet taken
  size_t taken_ = 0;
  uint64_t offset_ = 0;
  uint64_t next_number_ = 0;
  absl::Status failure_;
};

}  // namespace downpour::ps
