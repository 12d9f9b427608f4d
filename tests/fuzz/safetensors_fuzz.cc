// Damaged safetensors: refused, or the net's parameters.
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "tests/fuzz/fuzz_net.h"
#include "tests/fuzz/mutations.h"
#include "tests/fuzz/temporary_file.h"
#include "worker/formats/file_bytes.h"
#include "worker/model_file.h"

int main(int argc, char** argv) {
  downpour::formats::Model model = downpour::fuzz::MakeModel();
  const std::string seed_path =
      absl::StrCat(std::filesystem::temp_directory_path().string(), "/downpour-seed-", getpid());
  const bool written = downpour::worker::WriteModel(seed_path, model.outline.parameters, model.values).ok();
  const auto seed = downpour::formats::ReadBytes(seed_path, "model", 1 << 20);
  std::remove(seed_path.c_str());
  if (!written || !seed.ok()) return 1;
  downpour::fuzz::TemporaryFile file;
  file.Write(*seed);
  if (!downpour::worker::ReadModel(file.path(), model.outline.parameters, model.values).ok()) return 1;
  return downpour::fuzz::Main(argc, argv, {*seed}, [&](const std::string& bytes) {
    if (!file.Write(bytes)) std::abort();
    (void)downpour::worker::ReadModel(file.path(), model.outline.parameters, model.values);
  });
}
