// The launcher's stream of samples: frames of contiguous tensors, as worker/CONTRACT.md has them byte by
// byte.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "worker/data/sample_store.h"

namespace downpour::worker {

struct FeedOptions {
  std::size_t sample_size = 0;  // values in one row of `features`
  int classes = 0;              // a label must lie in [0, classes); 0 where labels are numbers
  StoreLimits limits;           // of both kinds of samples together
};

// Reads from `fd` up to and including the end frame; blocks meanwhile, any thread. The descriptor stays the
// caller's, and open. Bytes go straight from it into the store; no length is believed before it is checked.
// Fails with kInvalidArgument where the stream breaks a rule (names the frame's number and its offset),
// kAborted where it ends before its end frame or cannot be read (the launcher is gone), and as SampleStore does.
absl::StatusOr<PartitionSamples> ReadFeed(int fd, const FeedOptions& options);

}  // namespace downpour::worker
