#include "tools/ps_run/check.h"

#include <filesystem>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/device.h"
#include "proto/transforms.h"
#include "worker/data/transform.h"
#include "worker/initial_values.h"
#include "worker/net.h"

namespace downpour::run {

absl::StatusOr<NetFacts> CheckJob(const Job& job) {
  auto device = kernels::MakeDevice(job.worker().device(), {.threads = 1});
  if (!device.ok()) return device.status();
  const auto net = worker::Net::Create(job.net(), NetShape(job.data()), 1, **device);
  if (!net.ok()) return net.status();
  for (const Samples* samples : {&job.data().train(), &job.data().test()}) {
    for (const std::string* path : {&samples->images(), &samples->labels()}) {
      std::error_code error;
      if (!path->empty() && !std::filesystem::exists(*path, error)) {
        return absl::NotFoundError(absl::StrCat("no file at ", *path, ", which the job's data names"));
      }
    }
  }
  if (!job.training().start_from().empty()) {
    std::vector<float> values((*net)->parameter_count());
    const auto left = worker::StartFromModel(job, (*net)->parameters(), values);
    if (!left.ok()) return left.status();
  }
  const auto scores = (*net)->scores();
  return NetFacts{.values = worker::Transform(job.data()).sample_size(),
                  .outputs = scores ? (*net)->outputs()[*scores].shape.size() : (*net)->sample_size(),
                  .classes = (*net)->classes(),
                  .parameters = (*net)->parameter_count()};
}

}  // namespace downpour::run
