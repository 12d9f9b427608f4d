#include "proto/address.h"

#include <sys/un.h>

#include <algorithm>
#include <cstdint>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace downpour {
namespace {

constexpr uint32_t kMaxPort = 65535;
// The system wants a zero behind it.
constexpr size_t kMaxPath = sizeof(sockaddr_un::sun_path) - 1;

absl::Status Wrong(absl::string_view address, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("'", address, "' ", what));
}

// gRPC reads a path as a part of a URI, and lists of servers are separated by commas.
bool IsOdd(char c) { return static_cast<unsigned char>(c) <= ' ' || absl::StrContains("%?#,\x7f", c); }

absl::Status CheckPath(absl::string_view address, absl::string_view path) {
  if (path.empty()) return Wrong(address, "names no path");
  if (absl::StartsWith(path, "//")) {
    return Wrong(address, "is no path: it is unix:/run/ps.sock, or unix:ps.sock for one in the working folder");
  }
  if (path.size() > kMaxPath) {
    return Wrong(address,
                 absl::StrCat("has a path of ", path.size(), " bytes; the system allows a socket's path ", kMaxPath));
  }
  if (std::any_of(path.begin(), path.end(), IsOdd)) {
    return Wrong(address, "has a space, a control character or one of % ? # , in its path");
  }
  return absl::OkStatus();
}

absl::Status Check(absl::string_view address, uint32_t least_port) {
  if (const auto path = UnixPath(address)) return CheckPath(address, *path);
  const size_t colon = address.rfind(':');
  uint32_t port = 0;
  if (colon == absl::string_view::npos || colon == 0 || !absl::SimpleAtoi(address.substr(colon + 1), &port)) {
    return Wrong(address, "is not host:port");
  }
  if (port > kMaxPort) return Wrong(address, "has a port above 65535");
  if (port < least_port) {
    return Wrong(address,
                 "has port 0, which is no address to connect to: name the port on which the server says it listens");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckListenAddress(absl::string_view address) { return Check(address, 0); }
absl::Status CheckConnectAddress(absl::string_view address) { return Check(address, 1); }

absl::Status CheckMetricsAddress(absl::string_view address) {
  if (UnixPath(address)) return Wrong(address, "is not host:port; metrics are served over HTTP");
  return CheckListenAddress(address);
}

std::optional<std::string> UnixPath(absl::string_view address) {
  if (!absl::ConsumePrefix(&address, "unix:")) return std::nullopt;
  // As gRPC has it: unix:///run/x is unix:/run/x.
  if (absl::StartsWith(address, "///")) address.remove_prefix(2);
  return std::string(address);
}

}  // namespace downpour
