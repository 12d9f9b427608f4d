// A file for readers that want a path.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"

namespace downpour::fuzz {

// Removed at the end, where its process comes to it.
class TemporaryFile {
 public:
  TemporaryFile() : path_(absl::StrCat(std::filesystem::temp_directory_path().string(), "/downpour-fuzz-", getpid())) {}
  ~TemporaryFile() {
    std::error_code error;
    std::filesystem::remove(path_, error);
  }

  const std::string& path() const { return path_; }
  void Write(const std::string& bytes) {
    std::ofstream out(path_, std::ios::binary | std::ios::trunc);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }

 private:
  const std::string path_;
};

}  // namespace downpour::fuzz
