// A trained net as a filter: frames of samples in, frames of layers' values out.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proto/job.pb.h"

namespace downpour::worker {

struct PredictorOptions {
  Job job;            // net and data's shape, scale and transforms count
  std::string model;  // path of a safetensors file
  int feed_fd = 0;
  int answer_fd = 1;
  std::vector<std::string> layers;  // whose values to give; none for the last before the loss
  int batch = 256;                  // rows that are computed at once; an answer's frame has no more
};

// Answers each row that is fed with one row, in the same order, while it reads, and ends with the feed: worker/CONTRACT.md
// has the bytes. Blocks, on any thread. NotFound or InvalidArgument with a message that begins "the model": the file.
// InvalidArgument: the net, a layer that it has not (the message names those it has), or the feed, whose messages begin
// "feed:". Aborted: whoever feeds or reads is gone. ResourceExhausted: no memory for the batch.
absl::Status Predict(const PredictorOptions& options);

}  // namespace downpour::worker
