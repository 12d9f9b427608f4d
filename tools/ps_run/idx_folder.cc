#include "tools/ps_run/idx_folder.h"

#include <array>
#include <filesystem>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace downpour::run {

absl::Status UseFolder(const std::string& folder, Job* job) {
  namespace fs = std::filesystem;
  constexpr std::array kNames = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
                                 "t10k-labels-idx1-ubyte"};
  std::error_code error;
  const fs::path absolute = fs::absolute(folder, error).lexically_normal();
  if (error || !fs::is_directory(absolute, error)) return absl::NotFoundError(absl::StrCat("no folder at ", folder));
  std::array<std::string, kNames.size()> paths;
  std::vector<std::string> missing;
  for (size_t i = 0; i < kNames.size(); ++i) {
    for (const char* ending : {"", ".gz"}) {
      const fs::path path = absolute / absl::StrCat(kNames[i], ending);
      if (paths[i].empty() && fs::is_regular_file(path, error)) paths[i] = path;
    }
    if (paths[i].empty()) missing.emplace_back(kNames[i]);
  }
  if (!missing.empty()) {
    return absl::NotFoundError(
        absl::StrCat(folder, " has no ", absl::StrJoin(missing, ", no "), ", neither plain nor with .gz"));
  }
  Data* data = job->mutable_data();
  data->set_format("idx");
  data->mutable_train()->set_images(paths[0]);
  data->mutable_train()->set_labels(paths[1]);
  data->mutable_test()->set_images(paths[2]);
  data->mutable_test()->set_labels(paths[3]);
  return absl::OkStatus();
}

}  // namespace downpour::run
