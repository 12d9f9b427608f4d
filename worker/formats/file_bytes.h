// A whole file in memory.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace downpour::formats {

// NotFound: there is no such file. InvalidArgument: it is longer than `most` bytes. `what` names it in messages: "the model".
absl::StatusOr<std::string> ReadBytes(const std::string& path, const std::string& what, std::uint64_t most);

// Writes beside `path` and renames, so that a reader finds a whole file or none. Unavailable where that can't be done.
absl::Status WriteBytes(const std::string& path, const std::string& bytes);

}  // namespace downpour::formats
