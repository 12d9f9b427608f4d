// Text that comes from a peer.
#pragma once

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace downpour::ps {

// The beginning of UTF-8 text, at most so many bytes of it, that ends with a whole character: half of one makes a
// protobuf message that cannot be read.
inline std::string Beginning(absl::string_view text, std::size_t bytes) {
  if (text.size() <= bytes) return std::string(text);
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xC0) == 0x80) --bytes;
  return std::string(text.substr(0, bytes));
}

}  // namespace downpour::ps
