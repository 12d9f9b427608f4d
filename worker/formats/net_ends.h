// The ends of a net that came from elsewhere.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proto/job.pb.h"

namespace downpour::formats {

// Takes away layers whose values lead to no loss, and says so in the notes. A net without a loss gets a softmax_loss: in
// place of a softmax that it ends with, or after its last layer. InvalidArgument for a graph that is none.
absl::Status FinishNet(google::protobuf::RepeatedPtrField<Layer>* net, std::vector<std::string>* notes);

}  // namespace downpour::formats
