// A file for what has no room in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace downpour::worker {

// A file without a name: it is gone with the process, however that ends. Owns its descriptor. One thread appends; once
// that is over any may read.
class SpoolFile {
 public:
  // In a folder that must be there. Fails with kFailedPrecondition, naming it, where no file can be made in it.
  static absl::StatusOr<SpoolFile> Create(const std::string& folder);

  // A file that is open already; `folder` stands in messages.
  SpoolFile(int fd, std::string folder);
  ~SpoolFile();
  SpoolFile(SpoolFile&& other) noexcept;
  SpoolFile& operator=(SpoolFile&& other) noexcept;

  // Fails with kResourceExhausted where the disk is full, kDataLoss where it does not take the bytes for another reason.
  absl::Status Append(std::span<const std::byte> bytes);

  // Exactly to.size() bytes from `offset` on. Fails with kDataLoss.
  absl::Status Read(std::uint64_t offset, std::span<std::byte> to) const;

  // Says that this will be read soon, so that the disk can begin; does not wait.
  void Prefetch(std::uint64_t offset, std::size_t size) const;

  // Bytes appended.
  std::uint64_t size() const { return size_; }

 private:
  int fd_;
  std::string folder_;
  std::uint64_t size_ = 0;
};

}  // namespace downpour::worker
