// A file for readers that want a path, in memory alone.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <string>

#include "absl/strings/str_cat.h"

namespace downpour::fuzz {

// Gone with its process, however that ends.
class TemporaryFile {
 public:
  TemporaryFile() : fd_(memfd_create("damaged", 0)), path_(absl::StrCat("/proc/", getpid(), "/fd/", fd_)) {}
  ~TemporaryFile() { close(fd_); }

  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  const std::string& path() const { return path_; }
  // False where not all of it was written.
  bool Write(const std::string& bytes) {
    return ftruncate(fd_, 0) == 0 &&
           pwrite(fd_, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size());
  }

 private:
  const int fd_;
  const std::string path_;
};

}  // namespace downpour::fuzz
