// A checkpoint on a disk: FOLDER/NUMBER/server-I.checkpoint for each server I of the job, each with the parts that the
// server had, as records (record_file.h); the bytes are described in README.md. A file is written beside, synced and
// then renamed, so that one with that name was whole when it was made. A checkpoint is whole when all its servers'
// files are.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ps/checkpoint.pb.h"
#include "ps/part_state.h"
#include "ps/record_file.h"

namespace downpour::ps {

// One thread at a time may use it.
class CheckpointWriter {
 public:
  // Makes the folders that are missing. Unavailable, with path and reason, where that or the file can't be made.
  // InvalidArgument: a header that no reader would take. AlreadyExists: the server has a file of that number; another job writes there too.
  static absl::StatusOr<std::unique_ptr<CheckpointWriter>> Create(const std::string& folder,
                                                                  const CheckpointHeader& header);
  // Takes what is not finished away again.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // Unavailable, with path and reason, when it can't be written.
  absl::Status Add(const PartState& state);
  // Nothing more comes: the file takes its name once the disk has it.
  absl::Status Finish();

  uint32_t parts() const { return parts_; }
  uint64_t bytes() const { return bytes_; }
  const std::string& path() const { return path_; }

 private:
  CheckpointWriter(std::string path, std::unique_ptr<RecordWriter> records)
      : path_(std::move(path)), records_(std::move(records)) {}

  const std::string path_;
  std::unique_ptr<RecordWriter> records_;
  uint32_t parts_ = 0;
  uint64_t bytes_ = 0;
  bool finished_ = false;
};

// One thread at a time may use it. Trusts nothing in the file, and allocates no more than the file is long.
class CheckpointReader {
 public:
  // NotFound, InvalidArgument, DataLoss, OutOfRange: as RecordReader's.
  static absl::StatusOr<std::unique_ptr<CheckpointReader>> Open(const std::string& path);

  const CheckpointHeader& header() const { return header_; }
  // The next part; none at the end, which a file that was not finished doesn't come to. Errors as RecordReader's.
  absl::StatusOr<std::optional<PartState>> Next();

 private:
  explicit CheckpointReader(std::unique_ptr<RecordReader> records) : records_(std::move(records)) {}

  const std::unique_ptr<RecordReader> records_;
  CheckpointHeader header_;
  uint32_t parts_ = 0;
  bool ended_ = false;
};

struct PartBounds {
  uint64_t begin = 0;  // elements of the table
  uint64_t end = 0;
};

inline constexpr uint64_t kMostCheckpoints = 99999999;  // numbers have eight digits

struct FoundCheckpoint {
  uint64_t number = 0;
  std::vector<SettingsChange> changes;    // as the server knew them that knew most
  std::vector<std::string> files;         // by server
  std::vector<CheckpointHeader> headers;  // likewise
  std::vector<PartBounds> parts;          // of the table, end to end
  std::vector<std::string> passed_by;     // later ones that are not whole, and why
};

// The latest whole checkpoint in the folder, or that of a number; all its files are read through. One that is damaged
// or has not all its files is passed by. NotFound: there is none, and why those that are there were passed by.
// Unavailable: a file can't be read, and nobody knows whether it is whole.
absl::StatusOr<FoundCheckpoint> FindCheckpoint(const std::string& folder, std::optional<uint64_t> number);

// The largest number that was begun in the folder; 0 for none.
uint64_t LatestNumber(const std::string& folder);

// Takes away this server's files of all but the `keep` latest checkpoints that have the files of all servers, and of
// those that are later; server 0 takes away all that is in the folders of earlier ones. Where no other server's file is
// ever seen here, its own alone count, and one more is kept, for others may not have got as far.
void PruneCheckpoints(const std::string& folder, uint32_t server, uint32_t servers, uint32_t keep);

}  // namespace downpour::ps
