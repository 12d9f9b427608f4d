#include "ps/listen_error.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "proto/address.h"

namespace downpour::ps {
namespace {

absl::Status UnixError(const std::string& address, const std::string& path, const std::string& setting) {
  sockaddr_un place{};
  place.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(place.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("'", address,
                                                   "' is no address to listen on: a socket's path has 1 to ",
                                                   sizeof(place.sun_path) - 1, " bytes; see ", setting));
  }
  std::memcpy(place.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool bound = bind(fd, reinterpret_cast<const sockaddr*>(&place), sizeof(place)) == 0;
  const int error = bound ? 0 : errno;
  if (bound) unlink(path.c_str());
  close(fd);
  return absl::UnavailableError(absl::StrCat("can't listen on ", address, ": ",
                                             bound ? "refused by the system" : strerror(error),
                                             ". Another path can be given in ", setting));
}

}  // namespace

absl::Status ListenError(const std::string& address, const std::string& setting) {
  if (const auto path = UnixPath(address)) return UnixError(address, *path, setting);
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat("'", address, "' is no host:port; see ", setting));
  }
  std::string host = address.substr(0, colon);
  const std::string port = address.substr(colon + 1);
  if (host.size() > 1 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  if (const int code = getaddrinfo(host.c_str(), port.c_str(), &hints, &found); code != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", address, "' is no address to listen on (", gai_strerror(code), "); see ", setting));
  }
  int error = 0;
  const int fd = socket(found->ai_family, SOCK_STREAM, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 1) != 0) error = errno;
  close(fd);
  freeaddrinfo(found);
  if (error == EADDRINUSE) {
    return absl::UnavailableError(absl::StrCat(
        "can't listen on ", address, ": the port is in use, maybe by another ps-server; `ss -ltnp 'sport = :",
        port, "'` shows by whom. Stop that one, or give another port in ", setting));
  }
  return absl::UnavailableError(absl::StrCat("can't listen on ", address, ": ",
                                             error == 0 ? "refused by the system" : strerror(error),
                                             ". Another address can be given in ", setting));
}

}  // namespace downpour::ps
