// Damaged ONNX: refused, or a net.
#include "tests/fuzz/fuzz_net.h"
#include "tests/fuzz/mutations.h"
#include "worker/formats/onnx_export.h"
#include "worker/formats/onnx_import.h"

int main(int argc, char** argv) {
  std::vector<std::string> seeds;
  for (const downpour::formats::Model& model : {downpour::fuzz::MakeModel(), downpour::fuzz::MakeSequenceModel()}) {
    const auto seed = downpour::formats::ToOnnx(model.job, model);
    if (!seed.ok() || !downpour::formats::FromOnnx(*seed, "seed", {}).ok()) return 1;
    seeds.push_back(*seed);
  }
  return downpour::fuzz::Main(argc, argv, seeds, [](const std::string& bytes) {
    (void)downpour::formats::FromOnnx(bytes, "damaged", {});
  });
}
