#include "worker/formats/net_file.h"

#include <filesystem>

#include "proto/job_config.h"

namespace downpour::formats {

absl::StatusOr<Job> ReadNet(const std::string& path) {
  std::error_code error;
  return LoadJob(std::filesystem::is_directory(path, error) ? path + "/job.yaml" : path);
}

}  // namespace downpour::formats
