#include "ps/listen_error.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace downpour::ps {

absl::Status ListenError(const std::string& address, const std::string& setting) {
  if (address.rfind("unix:", 0) == 0) {
    return absl::UnavailableError(
        absl::StrCat("can't listen on ", address,
                     ": is the folder there and writable? Another one can be given in ", setting));
  }
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
