// How a frame travels whose payload lies in memory that both ends of its stream have mapped: with the payload's place.
//
// Behind the two edges of a stream nothing knows of it: there each payload is as if it had followed its header, and
// counts as many bytes. A pull has there, as its payload, the memory into which its sender wants the values; nothing in
// it is read, and it counts no bytes.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "proto/frame.h"
#include "proto/shared_region.h"

namespace downpour {

// The message as it travels. One whose payload is raw, in one piece and in the region, at a multiple of
// kRegionAlignment, travels as a place; any other as it is, a pull without its memory. `region` is null where the other
// end has none.
Message ToShared(const SharedRegion* region, Message message);

// The message as it is meant. Its payload is in the region, which it keeps mapped, and may change while it is read.
// InvalidArgument: a place where there is no region, outside it, not at a multiple of kRegionAlignment, or not as long
// as the frame's floats; of a pull, no floats. A hello and a welcome are left as they are.
absl::StatusOr<Message> FromShared(const std::shared_ptr<SharedRegion>& region, Message message);

}  // namespace downpour
