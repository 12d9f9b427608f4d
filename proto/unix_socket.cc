#include "proto/unix_socket.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"

namespace downpour {
namespace {

constexpr auto kPatience = std::chrono::seconds(2);
constexpr auto kLook = std::chrono::milliseconds(10);

std::string Change(int error) { return absl::StrCat(strerror(error), ". Change that"); }

absl::Status Unusable(const std::string& why) { return absl::UnavailableError(why); }

}  // namespace

absl::Status LookAtSocketPath(const std::string& path) {
  struct stat found{};
  if (lstat(path.c_str(), &found) != 0) return errno == ENOENT ? absl::OkStatus() : Unusable(Change(errno));
  if (!S_ISSOCK(found.st_mode)) return Unusable("something that is no socket is there. Remove it");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return Unusable("the path is too long for a socket. Choose a shorter one");
  std::memcpy(address.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return Unusable(Change(errno));
  const bool connected = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  const int error = connected ? 0 : errno;
  ucred peer{};
  socklen_t size = sizeof(peer);
  const bool known = connected && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid > 0;
  close(fd);
  if (error == ECONNREFUSED || error == ENOENT) return absl::OkStatus();
  if (!connected && error != EAGAIN) return Unusable(Change(error));
  return absl::AlreadyExistsError(absl::StrCat("the path is in use, ",
                                               known ? absl::StrCat("process ", peer.pid) : "somebody",
                                               " listens there, maybe another ps-server. Stop that one"));
}

namespace {

std::string FolderOf(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  return parent.empty() ? std::string(".") : parent.string();
}

// A folder that only root may list is locked by nobody, and one that somebody else keeps locked is no reason to wait
// for ever: what is left is that two servers begin in the same moment.
void AwaitLock(int fd) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK &&
         std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(kLook);
  }
}

}  // namespace

SocketClaim::~SocketClaim() {
  if (folder_ >= 0) close(folder_);
}

SocketClaim::SocketClaim(SocketClaim&& other) noexcept : folder_(std::exchange(other.folder_, -1)) {}

SocketClaim& SocketClaim::operator=(SocketClaim&& other) noexcept {
  std::swap(folder_, other.folder_);
  return *this;
}

absl::StatusOr<SocketClaim> ClaimSocketPath(const std::string& path, const std::string& setting) {
  const auto cannot = [&](const std::string& why) {
    return absl::UnavailableError(
        absl::StrCat("can't listen on unix:", path, ": ", why, ", or give another path in ", setting));
  };
  const std::string folder = FolderOf(path);
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
    return cannot(absl::StrCat("the folder ", folder, " is not there. Make it"));
  }
  SocketClaim claim(fd);
  AwaitLock(fd);
  if (const absl::Status found = LookAtSocketPath(path); !found.ok()) return cannot(std::string(found.message()));
  return claim;
}

SocketClaim LockSocketFolder(const std::string& path) {
  const int fd = open(FolderOf(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  AwaitLock(fd);
  return SocketClaim(fd);
}

void RemoveDeadSockets(const std::string& folder) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    std::error_code ignored;
    if (entry.is_socket(ignored) && LookAtSocketPath(entry.path().string()).ok()) unlink(entry.path().c_str());
  }
}

}  // namespace downpour
