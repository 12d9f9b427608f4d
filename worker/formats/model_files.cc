#include "worker/formats/model_files.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <span>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/vector_ops.h"
#include "proto/job_config.h"
#include "proto/transforms.h"
#include "worker/data/lmdb.h"
#include "worker/formats/caffe_net.h"
#include "worker/formats/caffe_weights.h"
#include "worker/formats/file_bytes.h"
#include "worker/formats/onnx_export.h"
#include "worker/formats/onnx_import.h"
#include "worker/model_file.h"

namespace downpour::formats {
namespace {

constexpr std::uint64_t kMostText = 16 << 20;
constexpr std::uint64_t kMostModel = (std::uint64_t{1} << 31) - 1;  // of a protobuf message

bool EndsWith(const std::string& path, const char* ending) { return absl::EndsWithIgnoreCase(path, ending); }
bool IsYaml(const std::string& path) { return EndsWith(path, ".yaml") || EndsWith(path, ".yml"); }

// The paths by what they are; each at most once.
struct Paths {
  std::string folder, yaml, safetensors, prototxt, caffemodel, onnx;
};

absl::StatusOr<Paths> Sort(const std::vector<std::string>& all) {
  Paths paths;
  for (const std::string& path : all) {
    std::error_code error;
    std::string* const place = std::filesystem::is_directory(path, error) ? &paths.folder
                               : IsYaml(path)                             ? &paths.yaml
                               : EndsWith(path, ".safetensors")           ? &paths.safetensors
                               : EndsWith(path, ".prototxt")              ? &paths.prototxt
                               : EndsWith(path, ".caffemodel")            ? &paths.caffemodel
                               : EndsWith(path, ".onnx")                  ? &paths.onnx
                                                                          : nullptr;
    if (place == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": is none of: ", kReadableFiles));
    }
    if (!place->empty()) return absl::InvalidArgumentError(absl::StrCat(path, ": is of the same kind as ", *place));
    *place = path;
  }
  return paths;
}

absl::Status Outline(const std::string& file, Model* model) {
  auto outline = worker::OutlineNet(model->job.net(), NetShape(model->job.data()));
  if (!outline.ok()) return absl::Status(outline.status().code(), absl::StrCat(file, ": ", outline.status().message()));
  model->outline = *std::move(outline);
  return absl::OkStatus();
}

absl::StatusOr<Model> ReadJob(const std::string& yaml, const std::string& safetensors, const ModelSource& source) {
  Model model;
  auto job = LoadJob(yaml);
  if (!job.ok()) return job.status();
  model.job = *std::move(job);
  if (!source.shape.empty()) {
    model.job.mutable_data()->mutable_shape()->Assign(source.shape.begin(), source.shape.end());
  }
  if (absl::Status status = Outline(yaml, &model); !status.ok()) return status;
  if (safetensors.empty()) return model;
  std::error_code error;
  const std::uint64_t size = std::filesystem::file_size(safetensors, error);
  if (!error && size / sizeof(float) < model.outline.parameter_count) {
    return absl::InvalidArgumentError(absl::StrCat("the model ", safetensors, ": ", size, " bytes are too few for the net's ",
                                                   model.outline.parameter_count, " parameters"));
  }
  if (error) return absl::NotFoundError(absl::StrCat("no model at ", safetensors));
  model.values.resize(model.outline.parameter_count);
  if (absl::Status status = worker::ReadModel(safetensors, model.outline.parameters, model.values); !status.ok()) {
    return status;
  }
  return model;
}

absl::StatusOr<CaffeText> ReadCaffeText(const std::string& path) {
  const auto text = ReadBytes(path, "Caffe net", kMostText);
  if (!text.ok()) return text.status();
  return ParseCaffeNet(*text, path);
}

// The file that a solver names: from the current folder, as Caffe takes it, or else of that name beside the solver.
std::string NetOfSolver(const std::string& solver, const std::string& net) {
  std::error_code error;
  if (std::filesystem::exists(net, error)) return net;
  return std::filesystem::path(solver).parent_path() / std::filesystem::path(net).filename();
}

// A sample's shape, which the net's database says where the net does not, and it is there.
absl::StatusOr<CaffeNet> WithShape(const CaffeText& text, CaffeNetOptions options) {
  const std::string database = CaffeDatabase(text, options.state);
  std::error_code error;
  if (options.shape.empty() && !database.empty() && std::filesystem::exists(database, error)) {
    const auto shape = worker::LmdbShape(database);
    if (!shape.ok()) return shape.status();
    options.shape = *shape;
  }
  auto net = FromCaffeNet(text, options);
  if (!net.ok()) return net;
  // As Caffe takes them, from the current folder: a job takes them from its own.
  Data& data = *net->job.mutable_data();
  const auto absolute = [&error](const Samples& samples) { return std::filesystem::absolute(samples.images(), error); };
  if (data.has_train()) data.mutable_train()->set_images(absolute(data.train()));
  if (data.has_test()) data.mutable_test()->set_images(absolute(data.test()));
  return net;
}

absl::StatusOr<CaffeNet> ReadCaffe(const std::string& path, const ModelSource& source) {
  const auto text = ReadBytes(path, "Caffe net", kMostText);
  if (!text.ok()) return text.status();
  CaffeNetOptions options;
  options.shape = source.shape;
  if (!absl::StrContains(*text, "base_lr")) {
    const auto parsed = ParseCaffeNet(*text, path);
    return parsed.ok() ? WithShape(*parsed, options) : parsed.status();
  }
  const auto solver = ParseCaffeSolver(*text, path);
  if (!solver.ok()) return solver.status();
  options.state.MergeFrom(solver->train_state());
  options.state.set_phase(caffe::TRAIN);
  absl::StatusOr<CaffeText> parsed;
  if (solver->has_net() || solver->has_train_net()) {
    parsed = ReadCaffeText(NetOfSolver(path, solver->has_net() ? solver->net() : solver->train_net()));
  } else if (solver->has_net_param() || solver->has_train_net_param()) {
    parsed = CaffeTextOf(solver->has_net_param() ? solver->net_param() : solver->train_net_param(), path);
  } else {
    return absl::InvalidArgumentError(absl::StrCat(path, ": names no net"));
  }
  if (!parsed.ok()) return parsed.status();
  auto net = WithShape(*parsed, options);
  if (!net.ok()) return net;
  if (absl::Status status = ApplyCaffeSolver(*solver, path, &*net); !status.ok()) return status;
  return net;
}

absl::StatusOr<Model> ReadCaffeFiles(const Paths& paths, const ModelSource& source) {
  auto net = ReadCaffe(paths.prototxt, source);
  if (!net.ok()) return net.status();
  Model model{.job = std::move(net->job), .notes = std::move(net->notes)};
  if (absl::Status status = Outline(paths.prototxt, &model); !status.ok()) return status;
  if (paths.caffemodel.empty()) return model;
  const auto bytes = ReadBytes(paths.caffemodel, "model", kMostModel);
  if (!bytes.ok()) return bytes.status();
  const auto parsed = ParseCaffeModel(*bytes, paths.caffemodel);
  if (!parsed.ok()) return parsed.status();
  auto values = FromCaffeModel(*parsed, paths.caffemodel, net->blobs, model.outline);
  if (!values.ok()) return values.status();
  model.values = *std::move(values);
  return model;
}

absl::Status Write(const Model& model, const Job& complete, const std::string& path) {
  if (IsYaml(path)) return WriteBytes(path, JobToYaml(model.job));
  if (EndsWith(path, ".safetensors")) return worker::WriteModel(path, model.outline.parameters, model.values);
  const auto bytes = ToOnnx(complete, model);
  return bytes.ok() ? WriteBytes(path, *bytes) : bytes.status();
}

absl::StatusOr<Model> ReadAny(const ModelSource& source) {
  auto paths = Sort(source.paths);
  if (!paths.ok()) return paths.status();
  if (!paths->folder.empty()) {
    if (source.paths.size() > 1) return absl::InvalidArgumentError("a run folder has its parameters with it");
    const std::string model = paths->folder + "/model.safetensors";
    std::error_code error;
    return ReadJob(paths->folder + "/job.yaml", std::filesystem::exists(model, error) ? model : "", source);
  }
  if (!paths->onnx.empty() && source.paths.size() == 1) {
    const auto bytes = ReadBytes(paths->onnx, "model", kMostModel);
    return bytes.ok() ? FromOnnx(*bytes, paths->onnx, source.shape) : bytes.status();
  }
  if (!paths->yaml.empty() && paths->prototxt.empty() && paths->caffemodel.empty() && paths->onnx.empty()) {
    return ReadJob(paths->yaml, paths->safetensors, source);
  }
  if (!paths->prototxt.empty() && paths->yaml.empty() && paths->safetensors.empty() && paths->onnx.empty()) {
    return ReadCaffeFiles(*paths, source);
  }
  return absl::InvalidArgumentError(
      absl::StrCat(absl::StrJoin(source.paths, ", "), ": these are not a net with its parameters; that is ", kReadableFiles));
}

}  // namespace

absl::StatusOr<Model> ReadModelFiles(const ModelSource& source) {
  auto model = ReadAny(source);
  if (!model.ok() || model->values.empty()) return model;
  for (const worker::Parameter& parameter : model->outline.parameters) {
    const std::span<const float> values(model->values.data() + parameter.offset, parameter.size);
    if (const auto bad = kernels::FirstNonFinite(values)) {
      return absl::InvalidArgumentError(absl::StrCat(absl::StrJoin(source.paths, ", "), ": parameter ", parameter.name,
                                                     " is not finite at ", *bad, ": ", values[*bad]));
    }
  }
  return model;
}

absl::StatusOr<Job> CompleteJob(const Model& model) { return ParseJob(JobToYaml(model.job), "the job"); }

absl::Status WriteModelFiles(const Model& model, const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    if (!IsYaml(path) && !EndsWith(path, ".safetensors") && !EndsWith(path, ".onnx")) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": is none of: ", kWritableFiles));
    }
    if (!IsYaml(path) && model.values.empty() && model.outline.parameter_count > 0) {
      return absl::InvalidArgumentError(absl::StrCat("there are no parameters to write to ", path));
    }
  }
  auto complete = CompleteJob(model);
  if (!complete.ok()) return complete.status();
  for (const std::string& path : paths) {
    if (absl::Status status = Write(model, *complete, path); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace downpour::formats
