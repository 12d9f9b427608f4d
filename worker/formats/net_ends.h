// The ends of a net that came from elsewhere.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proto/job.pb.h"

namespace downpour::formats {

// Takes away layers whose values lead to no loss, and says so in the notes. A net without a loss gets a softmax_loss on the
// values of the layer called `answer`, or of the last one where that is empty; a softmax gives place to it. InvalidArgument
// for a graph that is none.
absl::Status FinishNet(google::protobuf::RepeatedPtrField<Layer>* net, std::vector<std::string>* notes,
                       const std::string& answer = "");

}  // namespace downpour::formats
