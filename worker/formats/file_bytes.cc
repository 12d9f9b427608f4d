#include "worker/formats/file_bytes.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace downpour::formats {

absl::StatusOr<std::string> ReadBytes(const std::string& path, const std::string& what, std::uint64_t most) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return absl::NotFoundError(absl::StrCat("no ", what, " at ", path));
  const std::uint64_t size = std::filesystem::file_size(path, error);
  if (!error && size > most) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", size, " bytes; ", what, " has at most ", most));
  }
  std::ifstream in(path, std::ios::binary);
  std::string bytes(error ? 0 : size, '\0');
  if (error || !in.read(bytes.data(), static_cast<std::streamsize>(size))) {
    return absl::NotFoundError(absl::StrCat("can't read ", path));
  }
  return bytes;
}

absl::Status WriteBytes(const std::string& path, const std::string& bytes) {
  const std::string beside = absl::StrCat(path, ".part");
  std::ofstream out(beside, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  if (!out || std::rename(beside.c_str(), path.c_str()) != 0) {
    const std::string why = std::strerror(errno);
    std::remove(beside.c_str());
    return absl::UnavailableError(absl::StrCat("can't write ", path, ": ", why));
  }
  return absl::OkStatus();
}

}  // namespace downpour::formats
