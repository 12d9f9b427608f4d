// Parameters of a .caffemodel.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/formats/caffe_builder.h"
#include "worker/net_outline.h"

namespace downpour::formats {

// The values of the outline's parameters, taken from the layers of `model` by Caffe's names. InvalidArgument with every
// layer that is not there and every blob of another size: nothing is allocated before all are. `file` is for messages.
absl::StatusOr<std::vector<float>> FromCaffeModel(const caffe::NetParameter& model, const std::string& file,
                                                  const std::vector<CaffeBlobs>& blobs,
                                                  const worker::NetOutline& outline);

}  // namespace downpour::formats
