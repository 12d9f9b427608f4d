// A payload's bookkeeping kept in proportion to its bytes.
#pragma once

#include "proto/payload.h"

namespace downpour::ps {

// The payload itself, or a copy in one piece where a peer sent it in so many that the pieces cost more memory
// than what they carry.
Payload Compact(Payload payload);

// In one piece, the payload itself where it is.
Payload Joined(Payload payload);

}  // namespace downpour::ps
