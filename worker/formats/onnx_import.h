// A model from ONNX.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/formats/model.h"
#include "worker/formats/onnx_reader.h"

namespace downpour::formats {

struct OnnxImport {
  std::string_view op;
  // Adds to the reader what the node, which was begun there, becomes.
  void (*read)(OnnxReader& reader);
  std::string_view layer;  // the job's type that comes of it; empty where none does
};

// Every operator that is known.
std::span<const OnnxImport> OnnxImports();

// The net of one input and the parameters in its constants. `shape` is that of a sample, where the file does not say it.
// InvalidArgument with every node that is not known or asks for what is not there, and for a file that is damaged; nothing
// is allocated because a header says so. A net gets a softmax_loss, in place of a Softmax at its end or after its output.
absl::StatusOr<Model> FromOnnx(absl::string_view bytes, const std::string& file, const std::vector<std::uint32_t>& shape);

}  // namespace downpour::formats
