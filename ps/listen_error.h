// Why an address can't be listened on, in words for the person who has to do something about it.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace downpour::ps {

// Tries to listen there once more to learn the reason. Unavailable, or InvalidArgument where it is no address
// at all. `setting` is where another one can be given.
absl::Status ListenError(const std::string& address, const std::string& setting);

}  // namespace downpour::ps
