// Models in files of the forms in which people have them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/formats/model.h"

namespace downpour::formats {

// What may be read: a run folder, or a net with or without its parameters, by the files' endings.
inline constexpr char kReadableFiles[] =
    "a run folder; .yaml, a job, with .safetensors; .prototxt, a Caffe net or solver, with .caffemodel; .onnx";
inline constexpr char kWritableFiles[] = ".yaml, a job; .safetensors, its parameters; .onnx, what the net computes";

struct ModelSource {
  std::vector<std::string> paths;    // one that has the net, and perhaps one that has the parameters
  std::vector<std::uint32_t> shape;  // of a sample, where the net does not say it
};

// NotFound or InvalidArgument, naming files. Any thread.
absl::StatusOr<Model> ReadModelFiles(const ModelSource& source);

// Writes each of the files by its ending. InvalidArgument: an ending that is not known, or a model without parameters where
// they are asked for. Unavailable: a file can't be written.
absl::Status WriteModelFiles(const Model& model, const std::vector<std::string>& paths);

// The model's job with all keys, those that the source does not have being defaults. InvalidArgument with what a job can't
// be.
absl::StatusOr<Job> CompleteJob(const Model& model);

}  // namespace downpour::formats
