// Damaged safetensors: refused, or the net's parameters.
#include "tests/fuzz/fuzz_net.h"
#include "tests/fuzz/mutations.h"
#include "tests/fuzz/temporary_file.h"
#include "worker/formats/file_bytes.h"
#include "worker/model_file.h"

int main(int argc, char** argv) {
  downpour::formats::Model model = downpour::fuzz::MakeModel();
  downpour::fuzz::TemporaryFile file;
  if (!downpour::worker::WriteModel(file.path(), model.outline.parameters, model.values).ok()) return 1;
  const auto seed = downpour::formats::ReadBytes(file.path(), "model", 1 << 20);
  if (!seed.ok() || !downpour::worker::ReadModel(file.path(), model.outline.parameters, model.values).ok()) return 1;
  return downpour::fuzz::Main(argc, argv, {*seed}, [&](const std::string& bytes) {
    file.Write(bytes);
    (void)downpour::worker::ReadModel(file.path(), model.outline.parameters, model.values);
  });
}
