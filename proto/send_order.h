// What goes first of the frames that wait for a stream. A worker's fetch of a part need not wait until its pushes of
// other parts are through: the answer travels the other way meanwhile, and the parts come in the order in which a
// forward pass needs them. A server's acknowledgement, by which a worker may send more, need not wait until values are
// through.
#pragma once

#include <algorithm>
#include <deque>
#include <utility>

#include "proto/frame.h"

namespace downpour {

// Whether a frame may be written before one that came earlier. What concerns one part stays in order, but for
// acknowledgements.
inline bool MayOvertake(const FrameHeader& frame, const FrameHeader& earlier) {
  if (frame.kind == FrameKind::kAck) return earlier.kind == FrameKind::kValues;
  if (frame.kind != FrameKind::kPull) return false;
  const bool pushed = earlier.kind == FrameKind::kPush || earlier.kind == FrameKind::kSet;
  return pushed && (frame.part != earlier.part || frame.table != earlier.table);
}

// Puts `frame` where it belongs in `waiting`, of which the first `begun` are being written. `header_of` says an entry's
// header.
template <typename Frame, typename HeaderOf>
void InsertInSendOrder(Frame frame, std::size_t begun, HeaderOf header_of, std::deque<Frame>* waiting) {
  auto place = waiting->end();
  const auto first = waiting->begin() + static_cast<std::ptrdiff_t>(std::min(begun, waiting->size()));
  while (place != first && MayOvertake(header_of(frame), header_of(*std::prev(place)))) --place;
  waiting->insert(place, std::move(frame));
}

}  // namespace downpour
