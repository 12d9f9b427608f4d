// Which frames of one stream a server takes in, and where they go: those of the worker that said hello, for parts that
// are here, no more at a time than the credit allows. It moves no bytes, so whatever carries the frames asks the same
// rules.
//
// Not thread safe; whoever owns one guards it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "proto/frame.h"
#include "ps/control.h"

namespace downpour::ps {

class Intake {
 public:
  struct Verdict {
    std::optional<uint32_t> shard;    // of this server, which it goes to; none where it is refused
    uint32_t elements = 0;            // of the part
    Refusal reason = Refusal::kNone;  // why it is
    std::string sentence;
    absl::Status end;  // not OK: the stream ends with this, for there is no telling any more what the peer means
  };

  // `credit_bytes` is what the stream may have unacknowledged.
  Intake(std::shared_ptr<const Directory> directory, const FrameHeader& hello, uint64_t credit_bytes);

  // A frame after hello. Unless the stream ends it has one answer, and counts until Release.
  Verdict Take(const FrameHeader& header);
  // Its answer is on its way: of this kind, and giving back so many bytes of credit.
  void Release(FrameKind answer, uint64_t bytes);
  // Frames that have no answer yet.
  uint64_t unanswered() const { return frames_ + pulls_; }

 private:
  bool Reserve(const FrameHeader& header);

  // Constant after construction.
  const std::shared_ptr<const Directory> directory_;
  const FrameHeader hello_;
  const uint64_t credit_bytes_;
  const uint64_t most_pulls_;

  uint64_t pulls_ = 0;   // unanswered, or the answer waits for others to be written
  uint64_t frames_ = 0;  // sets and pushes, likewise
  uint64_t unacknowledged_bytes_ = 0;
};

}  // namespace downpour::ps
