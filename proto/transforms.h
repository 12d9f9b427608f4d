// What data.transforms makes of a sample's shape.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/strings/string_view.h"
#include "proto/job.pb.h"

namespace downpour {

// A sample's sides. A flat row has a channel for each value, which is one by one.
struct SampleSides {
  uint32_t channels = 1;
  uint32_t height = 1;
  uint32_t width = 1;
};

// Of data.shape, which is the shape in which samples are kept.
SampleSides SidesOf(const Data& data);

// The shape of what the net takes, with as many sides as data.shape has.
std::vector<uint32_t> NetShape(const Data& data);

// Calls `mistake` with the key and what is wrong for all that no single key can know.
void CheckTransforms(const Data& data, const std::function<void(absl::string_view, absl::string_view)>& mistake);

}  // namespace downpour
