#include "proto/address.h"

#include <cstdint>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace downpour {
namespace {

constexpr uint32_t kMaxPort = 65535;

absl::Status Check(absl::string_view address, uint32_t least_port) {
  const auto wrong = [address](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("'", address, "' ", what));
  };
  if (absl::StartsWith(address, "unix:")) {
    return address.size() > 5 ? absl::OkStatus() : wrong("names no path");
  }
  const size_t colon = address.rfind(':');
  uint32_t port = 0;
  if (colon == absl::string_view::npos || colon == 0 || !absl::SimpleAtoi(address.substr(colon + 1), &port)) {
    return wrong("is not host:port");
  }
  if (port > kMaxPort) return wrong("has a port above 65535");
  if (port < least_port) return wrong("has port 0, which is no address to connect to: name the port on which the server says it listens");
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckListenAddress(absl::string_view address) { return Check(address, 0); }
absl::Status CheckConnectAddress(absl::string_view address) { return Check(address, 1); }

}  // namespace downpour
