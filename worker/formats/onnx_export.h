// A model as ONNX: the net's answer, which its last loss takes, computed from samples as the job has them.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "worker/formats/onnx_writer.h"

namespace downpour::formats {

// What a layer is written from. Its value gets the layer's name.
struct OnnxLayer {
  const Layer& config;  // with all its keys
  const worker::LayerOutline& outline;
  std::vector<OnnxValue> inputs;

  const std::string& name() const { return config.name(); }
};

struct OnnxExport {
  std::string_view type;  // of a job's layer
  // Adds the nodes; whether what they give is flat. Unimplemented, saying what ONNX does not have.
  absl::StatusOr<bool> (*write)(OnnxWriter& out, const OnnxLayer& layer);
  int opset = 13;  // the first that has the nodes
};

// Every type that can be written; losses are not.
std::span<const OnnxExport> OnnxExports();

// The bytes of the file: one input, called data, and one output, of the name of the layer whose values it is. Batches are
// of any size. `job` is the model's with all its keys, and the model has its parameters. Unimplemented, naming the layer, for
// what ONNX has not.
absl::StatusOr<std::string> ToOnnx(const Job& job, const Model& model);

}  // namespace downpour::formats
