// Addresses as users write them: host:port, [IPv6]:port or unix:path.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace downpour {

// Where a server may listen; port 0 stands for a free one. InvalidArgument with the address and what is wrong.
absl::Status CheckListenAddress(absl::string_view address);

// Where a client may connect: no port 0.
absl::Status CheckConnectAddress(absl::string_view address);

// Where metrics may be served: host:port alone, for a scraper knows no other.
absl::Status CheckMetricsAddress(absl::string_view address);

// The path of a unix: address, none for another.
std::optional<std::string> UnixPath(absl::string_view address);

}  // namespace downpour
