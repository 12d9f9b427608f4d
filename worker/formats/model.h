// A net with its parameters, on its way from one form to another.
#pragma once

#include <string>
#include <vector>

#include "proto/job.pb.h"
#include "worker/net_outline.h"

namespace downpour::formats {

struct Model {
  Job job;                     // only what its source says; ParseJob of its YAML fills in the rest
  worker::NetOutline outline;  // of job.net
  std::vector<float> values;   // of outline.parameters; none where the source has a net alone
  std::vector<std::string> notes;  // what was in the source and is not here, a sentence each
};

}  // namespace downpour::formats
