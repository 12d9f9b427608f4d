#include "tools/ps_run/idx_folder.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace downpour::run {
namespace {

std::string Folder(const std::string& name, const std::vector<std::string>& files) {
  const std::string folder = std::string(std::getenv("TEST_TMPDIR")) + "/" + name;
  std::filesystem::create_directories(folder);
  for (const std::string& file : files) std::ofstream(folder + "/" + file) << "x";
  return folder;
}

TEST_CASE("the four files are found, plain or gzip, plain first") {
  const std::string folder =
      Folder("whole", {"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte", "train-labels-idx1-ubyte.gz",
                       "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte.gz"});
  Job job;
  REQUIRE(UseFolder(folder + "/.", &job).ok());
  CHECK(job.data().train().images() == folder + "/train-images-idx3-ubyte.gz");
  CHECK(job.data().train().labels() == folder + "/train-labels-idx1-ubyte");
  CHECK(job.data().test().images() == folder + "/t10k-images-idx3-ubyte");
  CHECK(job.data().test().labels() == folder + "/t10k-labels-idx1-ubyte.gz");
}

TEST_CASE("what is missing is named, and the job stays as it was") {
  const std::string folder = Folder("half", {"train-images-idx3-ubyte", "t10k-images-idx3-ubyte"});
  Job job;
  const absl::Status status = UseFolder(folder, &job);
  CHECK(status.code() == absl::StatusCode::kNotFound);
  CHECK(std::string(status.message()) ==
        folder + " has no train-labels-idx1-ubyte, no t10k-labels-idx1-ubyte, neither plain nor with .gz");
  CHECK_FALSE(job.has_data());
  CHECK(std::string(UseFolder("/nowhere", &job).message()) == "no folder at /nowhere");
}

}  // namespace
}  // namespace downpour::run
