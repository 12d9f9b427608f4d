#include "worker/data/spool_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace downpour::worker {
namespace {

// Not every file system can make a file without a name: such a one loses its name at once.
int OpenNamed(const std::string& folder) {
  std::string path = absl::StrCat(folder, "/downpour-spool-XXXXXX");
  const int fd = mkostemp(path.data(), O_CLOEXEC);
  if (fd >= 0) unlink(path.c_str());
  return fd;
}

}  // namespace

absl::StatusOr<SpoolFile> SpoolFile::Create(const std::string& folder) {
  int fd = open(folder.c_str(), O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) fd = OpenNamed(folder);
  if (fd < 0) {
    return absl::FailedPreconditionError(absl::StrCat("no spool file can be made in ", folder, ": ", std::strerror(errno)));
  }
  posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
  return SpoolFile(fd, folder);
}

SpoolFile::SpoolFile(int fd, std::string folder) : fd_(fd), folder_(std::move(folder)) {}

SpoolFile::~SpoolFile() {
  if (fd_ >= 0) close(fd_);
}

SpoolFile::SpoolFile(SpoolFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), folder_(std::move(other.folder_)), size_(other.size_) {}

SpoolFile& SpoolFile::operator=(SpoolFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(folder_, other.folder_);
  std::swap(size_, other.size_);
  return *this;
}

absl::Status SpoolFile::Append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(size_));
    if (wrote > 0) {
      size_ += wrote;
      bytes = bytes.subspan(wrote);
    } else if (wrote == 0 || errno != EINTR) {
      const std::string what = absl::StrCat("the spool file in ", folder_, " takes no more than ", size_, " bytes: ",
                                            std::strerror(wrote == 0 ? ENOSPC : errno));
      const bool full = wrote == 0 || errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
      return full ? absl::ResourceExhaustedError(what) : absl::DataLossError(what);
    }
  }
  return absl::OkStatus();
}

absl::Status SpoolFile::Read(std::uint64_t offset, std::span<std::byte> to) const {
  while (!to.empty()) {
    const ssize_t got = pread(fd_, to.data(), to.size(), static_cast<off_t>(offset));
    if (got > 0) {
      offset += got;
      to = to.subspan(got);
    } else if (got == 0 || errno != EINTR) {
      return absl::DataLossError(absl::StrCat("the spool file in ", folder_, " cannot be read at ", offset, " of ", size_,
                                              " bytes: ", got == 0 ? "it ends there" : std::strerror(errno)));
    }
  }
  return absl::OkStatus();
}

void SpoolFile::Prefetch(std::uint64_t offset, std::size_t size) const {
  posix_fadvise(fd_, static_cast<off_t>(offset), static_cast<off_t>(size), POSIX_FADV_WILLNEED);
}

}  // namespace downpour::worker
