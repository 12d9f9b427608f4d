#include "worker/initial_values.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "kernels/vector_ops.h"
#include "worker/model_file.h"

namespace downpour::worker {
namespace {

// "gaussian, filler_std 3e+38".
std::string FillerText(const downpour::Layer& config) {
  std::string text = config.filler().empty() ? "xavier" : config.filler();
  if (config.has_filler_value()) absl::StrAppend(&text, ", filler_value ", config.filler_value());
  if (config.has_filler_std()) absl::StrAppend(&text, ", filler_std ", config.filler_std());
  if (config.has_filler_min()) absl::StrAppend(&text, ", filler_min ", config.filler_min());
  if (config.has_filler_max()) absl::StrAppend(&text, ", filler_max ", config.filler_max());
  return text;
}

}  // namespace

absl::Status InitializeFinite(const google::protobuf::RepeatedPtrField<downpour::Layer>& layers, const Net& net,
                              std::uint64_t seed, std::span<float> parameters) {
  net.Initialize(seed, parameters);
  const auto bad = kernels::FirstNonFinite(parameters);
  if (!bad) return absl::OkStatus();
  const std::string where = TensorAt(net.parameters(), *bad);
  const auto layer = std::ranges::find_if(
      layers, [&where](const downpour::Layer& config) { return where.starts_with(absl::StrCat(config.name(), ".")); });
  return absl::InvalidArgumentError(
      absl::StrCat("the initial value of ", where, " is ", parameters[*bad], ", more than a float holds",
                   layer == layers.end() ? "" : absl::StrCat("; the layer's filler is ", FillerText(*layer))));
}

absl::StatusOr<std::vector<std::string>> InitialValues(const Job& job, const Net& net, std::span<float> parameters) {
  if (absl::Status status = InitializeFinite(job.net(), net, job.seed(), parameters); !status.ok()) return status;
  return StartFromModel(job, net.parameters(), parameters);
}

absl::StatusOr<std::vector<std::string>> StartFromModel(const Job& job, const std::vector<Parameter>& parameters,
                                                        std::span<float> values) {
  const std::string& path = job.training().start_from();
  if (path.empty()) return std::vector<std::string>();
  auto left = ReadTensorsInCommon(path, parameters, values);
  if (!left.ok()) {
    return absl::Status(left.status().code(), absl::StrCat("training.start_from: ", left.status().message()));
  }
  return left;
}

}  // namespace downpour::worker
