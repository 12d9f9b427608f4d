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
#include "worker/formats/onnx_path.h"
#include "worker/formats/onnx_reader.h"

namespace downpour::formats {

struct OnnxImport {
  std::string_view op;
  // Adds to the reader what the node, which was begun there, becomes.
  void (*read)(OnnxReader& reader);
  std::string_view layer;  // the job's type that comes of it; empty where none does
};

// What several nodes make together.
struct OnnxPattern {
  std::string_view op;  // of the first node
  // Whether the graph is so from there on, where the path begins; all its nodes were read then. It comes before OnnxImport.
  bool (*read)(OnnxPath& path);
  std::string_view layer;
};

// All that is known.
std::span<const OnnxImport> OnnxImports();
std::span<const OnnxPattern> OnnxPatterns();

// The net of one input and the parameters in its constants. `shape` is that of a sample, where the file does not say it.
// InvalidArgument with every node that is not known or asks for what is not there, and for a file that is damaged; nothing
// is allocated because a header says so. A net gets a softmax_loss, in place of a Softmax at its end or after its output.
absl::StatusOr<Model> FromOnnx(absl::string_view bytes, const std::string& file, const std::vector<std::uint32_t>& shape);

}  // namespace downpour::formats
